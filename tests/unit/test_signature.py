"""Only what was signed with one of our secrets gets in, and no header can break the check."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.errors import SignatureError
from pagerduty_sync.pagerduty.signature import MAX_VALUES, sign, verify
from tests.builders import signed

BODY = b'{"event": {"id": "01"}}'
SECRET = "n6QHDGPnvyzkJjDfQ0g7jV4k"
GOOD = "v1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
OTHER = "v1=" + "0" * 64


def test_sign_makes_what_pagerduty_documents():
    assert sign(BODY, SECRET) == GOOD
    assert signed(BODY, SECRET)["X-PagerDuty-Signature"] == GOOD


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(GOOD, id="one value"),
        pytest.param(f"{OTHER},{GOOD}", id="the second of two"),
        pytest.param(f"  {OTHER} ,\t{GOOD}  ", id="blanks around the values"),
        pytest.param(f"v2=zzz,{GOOD},,", id="other versions and empty values beside it"),
        pytest.param(f"v1=\u00fc\u4f60,{GOOD}", id="a value outside ASCII beside it"),
    ],
)
def test_a_header_with_one_good_value_is_accepted(header):
    verify(BODY, header, [SECRET])


def test_any_of_our_secrets_will_do():
    verify(BODY, GOOD, ["old", SECRET])
    verify(BODY, GOOD, (secret for secret in [SECRET, "new"]))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="no header"),
        pytest.param("", id="an empty header"),
        pytest.param(OTHER, id="a wrong value"),
        pytest.param(GOOD.removeprefix("v1="), id="no version"),
        pytest.param(GOOD.replace("v1=", "v2="), id="another version"),
        pytest.param(GOOD.upper().replace("V1", "v1"), id="upper-case digits"),
        pytest.param(GOOD[:-1], id="one digit short"),
        pytest.param(GOOD + "0", id="one digit more"),
        pytest.param("v1=", id="an empty value"),
        pytest.param("v1=\udc80\x00", id="half a surrogate pair"),
        pytest.param(",".join([OTHER] * MAX_VALUES + [GOOD]), id="too many values to try them all"),
    ],
)
def test_any_other_header_is_refused(header):
    with pytest.raises(SignatureError):
        verify(BODY, header, [SECRET])


def test_one_changed_byte_is_refused():
    with pytest.raises(SignatureError):
        verify(BODY + b" ", GOOD, [SECRET])


@pytest.mark.parametrize("secrets", [[], [""]], ids=["no secret", "an empty secret"])
def test_without_a_secret_nothing_is_accepted(secrets):
    with pytest.raises(SignatureError):
        verify(BODY, sign(BODY, ""), secrets)


def test_the_error_tells_neither_secret_nor_signature():
    with pytest.raises(SignatureError) as caught:
        verify(BODY, OTHER, [SECRET])
    assert SECRET not in str(caught.value)
    assert GOOD not in str(caught.value)


@given(body=st.binary(), header=st.none() | st.text(), secrets=st.lists(st.text()))
def test_whatever_comes_only_a_signature_error_goes_out(body, header, secrets):
    with pytest.raises(SignatureError):
        verify(body, header, secrets)


@given(body=st.binary(), secret=st.text(min_size=1))
def test_what_is_signed_is_accepted(body, secret):
    verify(body, sign(body, secret), [secret])
