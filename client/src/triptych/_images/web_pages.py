"""What a URL gave instead of a photo: a web page, a sign-in page, XML or JSON. Follows no link."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from triptych.errors import UnreadableImage

# A page names its photo in its head; the rest of a long page is not parsed.
_PARSED_BYTES = 300_000
_SHOWN_CHARACTERS = 60
_MARKUP = re.compile(rb"<([!?]|[A-Za-z][\w:.-]*[\s>/])")
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_SVG = re.compile(rb"<(!doctype\s+|\w+:)?svg\b", re.IGNORECASE)
_SIGN_IN = re.compile(r"log-?in|sign-?in|sso|oauth|saml|password", re.IGNORECASE)
_INSTEAD = "Pass the URL of the photo itself, or download the photo and pass its bytes."


def refuse_page(content: bytes, final_url: str, named: str, show: Callable[[str], str]) -> UnreadableImage | None:
    """The error for content that is a text of the web; None for all other content.

    Args:
        content: what came.
        final_url: where it came from, after all redirects.
        named: the caller's URL, and where it was redirected to, for the message.
        show: how a URL is written in a message.
    """
    head = content[:_PARSED_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if _MARKUP.match(head):
        is_page = _HTML.search(head[:4096]) is not None
        if _SVG.search(head[:4096]) and not is_page:
            return None  # the server names the format
        if head.startswith(b"<?xml") and not is_page:
            return UnreadableImage(f"The URL {named} gives an XML text, not a photo. {_INSTEAD}")
        return _about_page(_Page.of(head), final_url, named, show)
    if head[:1] in (b"{", b"["):
        try:
            told = _message_of(json.loads(content))
        except (ValueError, RecursionError):
            return None
        return UnreadableImage(f"The URL {named} gives a JSON text{told}, not a photo. {_INSTEAD}")
    return None


def _about_page(page: _Page, final_url: str, named: str, show: Callable[[str], str]) -> UnreadableImage:
    title = " ".join(page.title.split())[:_SHOWN_CHARACTERS]
    told = f" ({title!r})" if title else ""
    if page.asks_for_password or _SIGN_IN.search(urlsplit(final_url).path):
        return UnreadableImage(
            f"The URL {named} gives a sign-in page{told}, a web page, not a photo: the host wants a login, and the "
            "client sends none. Download the photo and pass its bytes, or pass a URL that is public."
        )
    hint = ""
    if page.photo_url:
        hint = f" The page names the photo {show(urljoin(final_url, page.photo_url))} (og:image)."
    return UnreadableImage(f"The URL {named} gives a web page{told}, not a photo.{hint} {_INSTEAD}")


def _message_of(document: object) -> str:
    """The error of a JSON document, where it has one."""
    if not isinstance(document, dict):
        return ""
    for key in ("error", "message", "detail", "title"):
        value = document.get(key)
        value = value.get("message") if isinstance(value, dict) else value
        if isinstance(value, str) and value:
            return f" ({value[:_SHOWN_CHARACTERS]!r})"
    return ""


class _Page(HTMLParser):
    """The title of a page, the photo that it names, and whether it asks for a password."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.photo_url = ""
        self.asks_for_password = False
        self._in_title = False

    @classmethod
    def of(cls, content: bytes) -> _Page:
        page = cls()
        page.feed(content.decode("utf-8", errors="replace"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title" and not self.title
        named = attributes.get("property") or attributes.get("name") or ""
        if tag == "meta" and named.lower() in ("og:image", "og:image:url", "og:image:secure_url", "twitter:image"):
            self.photo_url = self.photo_url or attributes.get("content", "").strip()
        if tag == "input" and attributes.get("type", "").lower() == "password":
            self.asks_for_password = True

    def handle_endtag(self, tag: str) -> None:
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
