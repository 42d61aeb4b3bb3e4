"""Tests outside the student's process. The submission runs in a sandboxed child; test cells run in
a trusted process that meets the student's names as values or as proxies; a third process holds the
deadlines of both. `autograde.execute` plugs this into nbgrader; `autograde.sandbox` confines it.
"""
