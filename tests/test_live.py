from mlsys.live import Live


def square(size: int) -> str:
    return f"<svg><rect width='{size}' height='{size}'/></svg>"


def test_a_still_page_keeps_what_was_shown_last():
    view = Live(square, 1)
    assert "width='1'" in view._repr_mimebundle_()["text/html"]
    view.show(7)
    assert "width='7'" in view._repr_mimebundle_()["text/html"]


def test_on_the_screen_it_is_one_widget_whose_value_changes():
    view = Live(square, 1)
    sent = []
    view._box.observe(lambda change: sent.append(change["new"]), names="value")
    before = view._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]
    for size in (2, 3):
        view.show(size)
    assert view._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"] == before
    assert sent == [square(2), square(3)]
