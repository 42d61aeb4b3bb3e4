# Read by JupyterLab when `mlsys lab` starts it, from JUPYTER_CONFIG_PATH; nothing of ~/.jupyter is.
import os

from dashboards.launch import jupyter_entry

c = get_config()  # noqa: F821  (traitlets puts it there)

c.Application.log_level = "WARN"  # the address is still said
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.answer_yes = True  # Ctrl-C stops at once, and everything with it
c.ServerApp.allow_root = hasattr(os, "geteuid") and os.geteuid() == 0
c.ServerProxy.servers = {"dashboards": jupyter_entry()}
