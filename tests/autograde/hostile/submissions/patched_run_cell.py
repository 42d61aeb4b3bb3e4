# Replaces the shell's run_cell, so that nothing later runs.
# ruff: noqa

# %%
print("tried")
shell = type(get_ipython())
shell.run_cell = shell.run_cell_async = lambda self, *arguments, **keywords: None
