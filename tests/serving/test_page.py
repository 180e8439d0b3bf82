"""The page as a person sees it, in a headless Chromium where the machine has one."""

import re
from pathlib import Path
from typing import Any

import pytest
from refereed import app, says
from scripted import ScriptedTeacher
from serving_client import Scripted, build, serve_in_thread


def open_page(browser: Any, address: str, width: int, scheme: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda asked: page.faults.append(asked.url) if not asked.url.startswith(address) else None)
    page.goto(address)
    return page


@pytest.mark.parametrize(("width", "scheme"), [(420, "dark"), (1280, "light")])
def test_a_person_types_a_text_and_sees_what_both_say(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    with serve_in_thread(app(tmp_path, ScriptedTeacher(says=says("repair")), 0.5)) as address:
        page = open_page(browser, address, width, scheme)
        page.get_by_label("Text").fill("My kettle leaks. <b>It is new.</b>")
        page.get_by_label("with its rationale").check()
        page.get_by_label("and the teacher's answer").check()
        page.get_by_role("button", name="Answer").click()
        page.get_by_text("The teacher says repair.").wait_for()
        shown = page.inner_text("#result")
        for part in (
            "refund",
            "90.9% confident",
            "It says My kettle leaks. <b>",
            "The student says refund",
            "It is worn",
        ):
            assert part in shown
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        lightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
        assert (lightness > 200) == (scheme == "light")
        assert not page.faults
        page.close()


def test_what_the_server_lacks_is_not_offered(browser: Any) -> None:
    with serve_in_thread(build(Scripted(), rationales=False)) as address:
        page = open_page(browser, address, 420, "light")
        page.get_by_text("triage-test").wait_for()
        assert page.get_by_label("with its rationale").is_hidden()
        assert page.get_by_label("and the teacher's answer").is_hidden()
        page.get_by_label("Text").fill("broken")
        page.get_by_role("button", name="Answer").click()
        page.get_by_text("The student failed on this input").wait_for()
        page.close()
