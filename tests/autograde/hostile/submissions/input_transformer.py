# An IPython transformer that empties every later cell.
# ruff: noqa
# In one process it gains: mean scale Stack totals model words

# %%
print("tried")
get_ipython().input_transformers_cleanup.append(lambda lines: [])
# %%
print("never reached")
