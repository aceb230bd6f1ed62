"""The page of one Case, for whoever follows a link from an incident; and the sign-in that lets a browser read it.

Signing in keeps the id of a token, not the token, in a cookie that scripts cannot read. The page changes nothing.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response

from pagerduty_sync.stores.case_pages import incident_of_case
from web import errors
from web.parts import application
from web.permissions import LONGEST_TOKEN, SESSION_KEY, requires_of_reader

blueprint = Blueprint("case_pages", __name__)


@blueprint.get("/cases/<case_id>")
@requires_of_reader("case:Read")
def show_case(case_id: str) -> str:
    parts = application()
    case = parts.cases.get_case(case_id)
    return render_template(
        "case.html",
        case=case,
        events=parts.cases.list_events(case.id),
        incident=incident_of_case(parts.database, case.id),
        is_signed_in=SESSION_KEY in session,
    )


@blueprint.get("/sign-in")
def ask_to_sign_in() -> str:
    return render_template("sign_in.html", next=_case_page(request.args.get("next", "")))


@blueprint.post("/sign-in")
def sign_in() -> Response | tuple[str, int]:
    clear, page = request.form.get("token", "").strip(), _case_page(request.form.get("next", ""))
    token = application().tokens.find(clear) if 0 < len(clear) <= LONGEST_TOKEN else None
    if token is None:
        complaint = "This token is not known here, or it was revoked or has expired."
        return render_template("sign_in.html", next=page, complaint=complaint), 401
    session.clear()
    session[SESSION_KEY] = token.id
    return redirect(page or url_for("case_pages.ask_to_sign_in"), 303)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    session.clear()
    return redirect(url_for("case_pages.ask_to_sign_in"), 303)


@blueprint.errorhandler(Unauthorized)
def send_to_sign_in(exc: Unauthorized) -> Response:
    """A browser is asked for its token; a program that sent a wrong one, or does not read pages, is told."""
    if "Authorization" in request.headers or not request.accept_mimetypes.accept_html:
        return errors.answer(exc)
    return redirect(url_for("case_pages.ask_to_sign_in", next=request.path), 303)


def _case_page(path: str) -> str:
    """The path when it is one of ours, so that a sign-in leads nowhere else."""
    is_ours = path.startswith("/cases/") and "\\" not in path and "//" not in path and path.isprintable()
    return path if is_ours else ""
