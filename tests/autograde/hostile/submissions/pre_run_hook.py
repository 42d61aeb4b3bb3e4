# Hooks the shell's events to see and change cells before they run.
# ruff: noqa

# %%
def peek(*arguments):
    print("tried", arguments)


for event in ("pre_run_cell", "post_run_cell", "pre_execute", "post_execute"):
    get_ipython().events.register(event, peek)
get_ipython().compile.cache = peek
