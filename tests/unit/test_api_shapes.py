"""What the API shows of a template that somebody wrote routing keys into."""

from __future__ import annotations

import pytest

from web.api.shapes import masked

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (KEY, "…cdef"),
        (f'{{% if case.priority == "P1" %}}{KEY}{{% else %}}{KEY[::-1]}{{% endif %}}', None),
        ("{{ case.labels.routing_key | first }}", "{{ case.labels.routing_key | first }}"),
        ("", ""),
    ],
)
def test_a_key_in_a_template_shows_its_end_only(template: str, shown: str | None) -> None:
    assert masked(template) == shown or (shown is None and KEY not in masked(template))
    assert KEY[::-1] not in masked(template)
