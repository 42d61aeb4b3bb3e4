# Shows LaTeX that would read files or never end.
# ruff: noqa

# %%
from IPython.display import Latex, Math, display

display(
    Latex(r"\input{/etc/passwd} \write18{id} $\def\x{\x\x}\x$"),
    Math(r"\href{javascript:alert(1)}{x}"),
)
print("tried")
