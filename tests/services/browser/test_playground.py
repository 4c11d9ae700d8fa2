"""The playground in a real browser, over a real server with tiny models."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from services.examples import SHOWN
from services.static import SOURCES
from tests.services.conftest import Store
from tests.services.server import ROOT, Server, environment, free_port, serving

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.services.browser.conftest import WAIT_MS, Open

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

expect.set_options(timeout=WAIT_MS)

TABS = {"classify": "Classify", "qa": "Answer", "summarize": "Summarize", "compare": "Compare"}
EXAMPLES = [(task, one["title"]) for task, shown in SHOWN.items() for one in shown]
HOSTILE = '<script>window.hacked = 1</script> it\'s "urgent" `$HOME` \\ 😀 in paris\n& <b>bold</b>'
HEBREW = "שלום, הכרטיס נמצא ב paris היום"


def link(task: str, body: dict[str, Any]) -> str:
    return f"#/{task}?{quote(json.dumps(body))}"


def panel(page: Page, task: str) -> Locator:
    """The open tab's part, once its answer is there."""
    part = page.locator(f".panel.{task}")
    expect(part.locator(".told")).to_be_visible()
    expect(part.locator("[aria-busy=true]")).to_have_count(0)
    return part


def show(page: Page, task: str) -> Locator:
    page.get_by_role("tab", name=TABS[task], exact=True).click()
    return panel(page, task)


def headline(part: Locator) -> Locator:
    return part.locator(".headline")


def copied(part: Locator, language: str) -> str:
    part.get_by_role("tab", name=language).click()
    part.locator(".copy-code").click()
    expect(part.locator(".copy-code")).to_have_text("Copied")
    text: str = part.page.evaluate("navigator.clipboard.readText()")
    return text


# --- answers


def test_it_opens_with_an_answer(page: Page) -> None:
    part = panel(page, "classify")
    expect(part.get_by_label("Text")).to_have_value(SHOWN["classify"][0]["body"]["text"])
    expect(part.locator(".bars li")).to_have_count(3)
    expect(page).to_have_title("Classify · Transfer playground")


@pytest.mark.parametrize(("task", "title"), EXAMPLES)
def test_every_example_answers(page: Page, task: str, title: str) -> None:
    part = show(page, task)
    chip = part.get_by_role("button", name=title, exact=True)
    route = f"/{task}"
    with page.expect_response(lambda response: response.url.endswith(route)) as answered:
        chip.click()
    assert answered.value.status == 200
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(panel(page, task).locator(".notice")).to_have_count(0)
    expect(part.locator(".result")).not_to_be_empty()


def test_scores_are_bars(open_page: Open, server: Server) -> None:
    body = {"text": "send money", "top_k": 3}
    part = panel(open_page(f"{server.url}/{link('classify', body)}"), "classify")
    scores = httpx.post(f"{server.url}/classify", json=body).json()["results"][0]["scores"]
    rows = part.locator(".bars li")
    expect(rows.locator(".bar-label")).to_have_text([one["label"] for one in scores])
    share = rows.first.locator(".track").evaluate("e => e.style.getPropertyValue('--share')")
    assert float(share) == scores[0]["score"]
    wide, whole = (rows.first.locator(one).bounding_box() for one in (".fill", ".track"))
    assert wide and whole
    assert wide["width"] / whole["width"] == pytest.approx(scores[0]["score"], abs=0.02)


def test_an_unsure_model_says_so(open_page: Open, server: Server) -> None:
    part = panel(open_page(f"{server.url}/{link('classify', {'text': 'the card'})}"), "classify")
    expect(headline(part)).to_have_text("Not sure")
    expect(part.locator(".explain")).to_contain_text("Closest is")


def test_the_answer_is_marked_in_its_document(open_page: Open, server: Server) -> None:
    body = {"question": "where", "context": ["the card", f"😀😀 {HOSTILE}"], "top_k": 2}
    page = open_page(f"{server.url}/{link('qa', body)}")
    part = panel(page, "qa")
    expect(headline(part)).to_have_text("paris")
    documents = part.locator(".document .text")
    expect(documents.nth(1).locator("mark.answer")).to_have_text("paris")
    assert documents.nth(1).inner_text() == body["context"][1]
    expect(documents.nth(0).locator("mark.answer")).to_have_count(0)


def test_no_answer_is_an_answer(open_page: Open, server: Server) -> None:
    body = {"question": "when", "context": "the card"}
    part = panel(open_page(f"{server.url}/{link('qa', body)}"), "qa")
    expect(headline(part)).to_have_text("No answer there")
    expect(part.locator("mark.answer")).to_have_count(0)


def test_documents_can_be_added_and_removed(page: Page) -> None:
    part = show(page, "qa")
    part.get_by_label("Question").fill("where")
    part.get_by_label("Document").fill("the card")
    part.get_by_role("button", name="Add a document").click()
    expect(part.get_by_label("Document 2")).to_be_focused()
    part.get_by_label("Document 2").fill("in paris")
    part.get_by_role("button", name="Answer", exact=True).click()
    expect(headline(part)).to_have_text("paris")
    expect(part.locator(".document")).to_have_count(2)
    part.get_by_role("button", name="Remove").last.click()
    part.get_by_role("button", name="Answer", exact=True).click()
    expect(headline(part)).to_have_text("No answer there")


@pytest.mark.parametrize("stream", [True, False])
def test_chosen_sentences_are_marked_in_the_text(
    open_page: Open, server: Server, stream: bool
) -> None:
    text = "My card is here 😀. This is important. The bill is there. This is urgent."
    body = {"text": text, "max_sentences": 2, "stream": stream}
    part = panel(open_page(f"{server.url}/{link('summarize', body)}"), "summarize")
    expect(part.locator(".summary")).to_have_text("This is important. This is urgent.")
    marks = part.locator("mark.chosen")
    expect(marks).to_have_text(["This is important.", "This is urgent."])
    sentences = httpx.post(f"{server.url}/summarize", json={**body, "stream": False}).json()
    scores = [one["score"] for one in sentences["results"][0]["sentences"]]
    strengths = marks.evaluate_all("all => all.map(e => +e.style.getPropertyValue('--strength'))")
    assert strengths == pytest.approx([score / max(scores) for score in scores])
    assert part.locator(".document .text").inner_text() == text


def test_what_a_model_writes_comes_token_by_token(page: Page, server: Server) -> None:
    part = show(page, "summarize")
    told = httpx.post(f"{server.url}/summarize", json={"text": "This is important."}).json()
    told["results"] = [{"summary": "A cat <b>", "sentences": [], "compression": 0.5}]
    events = [("token", {"text": "A "}), ("token", {"text": "cat <b>"}), ("result", told)]
    stream = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    page.route(
        "**/summarize", lambda route: route.fulfill(content_type="text/event-stream", body=stream)
    )
    part.get_by_role("button", name="Summarize").click()
    expect(part.locator(".summary")).to_have_text("A cat <b>")
    expect(part.locator(".document")).to_have_count(0)


def test_a_stream_that_fails_on_the_way_says_why(page: Page) -> None:
    part = show(page, "summarize")
    fault = {"code": "deadline_exceeded", "message": "It took too long.", "hint": "Send less."}
    stream = 'event: token\ndata: {"text":"A "}\n\n'
    stream += f"event: error\ndata: {json.dumps({'error': fault})}\n\n"
    page.route(
        "**/summarize", lambda route: route.fulfill(content_type="text/event-stream", body=stream)
    )
    part.get_by_role("button", name="Summarize").click()
    expect(part.locator(".notice.bad")).to_contain_text("It took too long.")
    expect(part.locator(".notice.bad")).to_contain_text("Send less.")


@pytest.mark.parametrize("stream", ["", 'event: token\ndata: {"text":"A "}\n\n'])
def test_a_stream_that_ends_before_its_answer_says_so(page: Page, stream: str) -> None:
    part = show(page, "summarize")
    page.route(
        "**/summarize", lambda route: route.fulfill(content_type="text/event-stream", body=stream)
    )
    part.get_by_role("button", name="Summarize").click()
    expect(part.locator(".notice.bad")).to_contain_text("The stream ended before the whole answer.")
    expect(part.locator(".summary")).to_have_count(0)
    page.unroute("**/summarize")
    part.get_by_role("button", name="Summarize").click()
    expect(part.locator(".notice")).to_have_count(0)
    expect(part.locator(".summary")).not_to_be_empty()


# --- comparing


STAGES = ("tokenize", "infer", "decode")


def fixed(value: float, digits: int) -> Decimal:
    """Halves go up, as JavaScript has them."""
    return Decimal(value).quantize(Decimal(10) ** -digits, ROUND_HALF_UP)


def milliseconds(value: float) -> str:
    """As the page writes them: three digits, or whole ones from 100 on."""
    return f"{fixed(value, 2 if value < 10 else 1 if value < 100 else 0)} ms"


def megabytes(value: float) -> str:
    return f"{fixed(value, 1 if value < 10 else 0)} MB"


@pytest.mark.parametrize("title", [one["title"] for one in SHOWN["compare"]])
def test_a_comparison_is_what_the_api_says(page: Page, server: Server, title: str) -> None:
    part = show(page, "compare")
    with page.expect_response(lambda response: response.url.endswith("/compare")) as answered:
        part.get_by_role("button", name=title, exact=True).click()
    shown = answered.value.json()
    body = json.loads(answered.value.request.post_data or "")
    again = httpx.post(f"{server.url}/compare", json=body).json()
    assert shown["agreement"] == again["agreement"]
    assert [one["results"] for one in shown["variants"]] == [
        one["results"] for one in again["variants"]
    ]
    part = panel(page, "compare")
    expect(headline(part)).to_have_text("All agree" if shown["agreement"] == 1 else "They differ")
    cards = part.locator(".card")
    expect(cards.locator("h3")).to_have_text([one["variant"] for one in shown["variants"]])
    for number, row in enumerate(shown["variants"]):
        card = cards.nth(number)
        result = row["results"][0]
        if body["task"] == "summarize":
            said = [one["text"] for one in result["sentences"]]
            expect(card.locator(".picked li")).to_have_text(said)
        else:
            answer = result.get("label") or result.get("answer") or "No answer"
            expect(card.locator(".brief")).to_have_text(answer)
        expect(card.locator(".badge")).to_have_text("agrees" if number else "reference")
        expect(card.locator(".big")).to_have_text(milliseconds(row["latency_ms"]))
        stages = [f"{name}{milliseconds(row['stages_ms'][name])}" for name in STAGES]
        expect(card.locator(".stage-list li")).to_have_text(stages)
        memory = card.locator(".facts .with-share", has_text="memory")
        expect(memory.locator("dd")).to_have_text(megabytes(row["memory_mb"]))


def test_variants_that_differ_are_told_apart(page: Page) -> None:
    part = show(page, "compare")

    def differ(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        answer["agreement"] = 0.0
        answer["variants"][1] |= {"agreement": 0.0}
        answer["variants"][2] |= {"agreement": 0.5}
        route.fulfill(response=response, json=answer)

    page.route("**/compare", differ)
    part.get_by_role("button", name="Compare").click()
    expect(headline(part)).to_have_text("They differ")
    badges = ["reference", "differs", "50 % alike"]
    expect(part.locator(".badge")).to_have_text(badges)


def test_only_the_chosen_variants_are_compared(page: Page) -> None:
    part = show(page, "compare")
    part.locator(".many label", has_text="distilled-int8").click()
    part.get_by_role("button", name="Compare").click()
    expect(part.locator(".card h3")).to_have_text(["full", "distilled"])


def test_fifty_runs_make_a_histogram(page: Page) -> None:
    part = show(page, "compare")
    part.get_by_role("button", name="Run 50 times").click()
    expect(part.locator(".repeat .hint")).to_have_text("50 of 50 runs", timeout=60_000)
    rows = part.locator(".histogram-row:not(.head)")
    expect(rows.locator("h4")).to_have_text(["full", "distilled", "distilled-int8"])
    for label in rows.locator("svg").all():
        expect(label).to_have_attribute("aria-label", re.compile("^50 runs, median"))


# --- the call in code, and its address


def test_the_copied_calls_give_the_same_label(open_page: Open, server: Server) -> None:
    body = {"text": f"send money {HOSTILE}", "top_k": 2, "variant": "full"}
    page = open_page(f"{server.url}/{link('classify', body)}")
    part = panel(page, "classify")
    label = headline(part).inner_text()
    curl = subprocess.run(
        ["bash", "-c", copied(part, "curl")], capture_output=True, text=True, check=True
    )
    answer = json.loads(curl.stdout)
    assert (answer["results"][0]["label"], answer["variant"]) == (label, "full")
    assert len(answer["results"][0]["scores"]) == 2
    python = subprocess.run(
        [sys.executable, "-c", copied(part, "Python")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert python.stdout.split()[0] == label
    script = copied(part, "JavaScript").replace("console.log(", "return (")
    assert page.evaluate(f"async () => {{ {script} }}") == answer


@pytest.mark.parametrize("task", ["qa", "summarize", "compare"])
def test_every_tab_has_python_that_runs(page: Page, task: str) -> None:
    part = show(page, task)
    done = subprocess.run(
        [sys.executable, "-c", copied(part, "Python")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_link_shows_the_same_to_others(open_page: Open, server: Server) -> None:
    mine = open_page(f"{server.url}/")
    part = show(mine, "qa")
    part.get_by_label("Question").fill("where?")
    part.get_by_label("Document").fill(HOSTILE)
    part.get_by_role("spinbutton", name="Answers").fill("2")
    part.get_by_role("button", name="Answer", exact=True).click()
    expect(headline(part)).to_have_text("paris")
    part.locator(".copy-link").click()
    expect(part.locator(".copy-link")).to_have_text("Copied")
    address = mine.evaluate("navigator.clipboard.readText()")
    assert address == mine.url
    theirs = panel(open_page(address), "qa")
    expect(headline(theirs)).to_have_text("paris")
    expect(theirs.get_by_label("Question")).to_have_value("where?")
    expect(theirs.get_by_label("Document")).to_have_value(HOSTILE)
    expect(theirs.get_by_role("spinbutton", name="Answers")).to_have_value("2")


def test_back_goes_to_what_was_asked_before(page: Page) -> None:
    part = panel(page, "classify")
    for text in ("stolen card", "my balance"):
        part.get_by_label("Text").fill(text)
        part.get_by_role("button", name="Classify").click()
        expect(headline(part)).to_have_text(
            "freeze_card" if text == "stolen card" else "check_balance"
        )
    page.go_back()
    expect(headline(part)).to_have_text("freeze_card")
    expect(part.get_by_label("Text")).to_have_value("stolen card")


@pytest.mark.parametrize("hash", ["#/nope", "#/classify?{", "#/classify?%ff", "#/compare?[]", "#"])
def test_a_damaged_link_opens_the_page_all_the_same(
    open_page: Open, server: Server, hash: str
) -> None:
    task = "compare" if "compare" in hash else "classify"
    panel(open_page(f"{server.url}/{hash}"), task)


# --- text is text


@pytest.mark.parametrize("task", ["classify", "compare"])
def test_markup_in_labels_is_shown_as_text(open_page: Open, server: Server, task: str) -> None:
    text, labels = f"the courier {HOSTILE}", ["delivery <img src=x onerror='hacked=1'>", "bill <b>"]
    body: dict[str, Any] = {"text": text, "labels": labels}
    body = body if task == "classify" else {"task": "classify", "input": body}
    page = open_page(f"{server.url}/{link(task, body)}")
    part = panel(page, task)
    assert page.locator("main img, main b, main script").count() == 0
    expect(part.get_by_role("textbox", name="Text")).to_have_value(text)
    expect(part.locator("bdi").first).to_have_text(labels[0])
    assert page.evaluate("window.hacked") is None


def test_text_from_right_to_left_is_laid_out_so(open_page: Open, server: Server) -> None:
    body = {"question": "where", "context": HEBREW}
    part = panel(open_page(f"{server.url}/{link('qa', body)}"), "qa")
    expect(part.locator("mark.answer")).to_have_text("paris")
    direction = "e => getComputedStyle(e).direction"
    assert part.locator(".document .text").evaluate(direction) == "rtl"
    assert part.get_by_label("Document").evaluate(direction) == "rtl"
    assert part.locator(".document .text").inner_text() == HEBREW


# --- faults


def refused(noise: list[str], status: int) -> None:
    """The browser itself tells of a refusal, and nothing else is wrong."""
    assert noise and all(f"status of {status}" in said for said in noise), noise
    noise.clear()


def test_an_empty_text_is_explained(page: Page, noise: list[str]) -> None:
    part = panel(page, "classify")
    part.get_by_label("Text").fill("")
    part.get_by_role("button", name="Classify").click()
    expect(part.get_by_role("alert")).to_contain_text("text is empty")
    expect(part.locator(".told")).to_have_count(0)
    refused(noise, 422)
    part.get_by_label("Text").fill("send money")
    part.get_by_role("button", name="Classify").click()
    expect(headline(part)).to_have_text("transfer_money")
    expect(part.get_by_role("alert")).to_have_count(0)


BUSY = {"code": "overloaded", "message": "Too much is waiting.", "hint": "", "request_id": "1"}


@pytest.mark.parametrize("patient", [True, False])
def test_a_busy_service_is_asked_again_after_a_countdown(
    page: Page, noise: list[str], patient: bool
) -> None:
    asked: list[str] = []

    def busy(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
            return
        wait = "4" if patient else "900"
        route.fulfill(status=429, headers={"Retry-After": wait}, json={"error": BUSY})

    part = panel(page, "classify")
    page.route("**/classify", busy)
    part.get_by_label("Text").fill("stolen card")
    part.get_by_role("button", name="Classify").click()
    notice = part.locator(".notice")
    expect(notice).to_contain_text("The service is busy.")
    if patient:
        expect(notice.locator(".seconds")).to_have_text(re.compile("^[123]$"))
    else:
        expect(notice.locator(".seconds")).to_have_text(re.compile("^89.$"))
        notice.get_by_role("button", name="Ask now").click()
    expect(headline(part)).to_have_text("freeze_card")
    expect(notice).to_have_count(0)
    assert len(asked) == 2
    refused(noise, 429)


def test_a_date_to_wait_for_is_counted_down(page: Page, noise: list[str]) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(minutes=15), usegmt=True)
    part = panel(page, "classify")
    page.route(
        "**/classify",
        lambda route: route.fulfill(
            status=429, headers={"Retry-After": until}, json={"error": BUSY}
        ),
    )
    part.get_by_role("button", name="Classify").click()
    expect(part.locator(".notice .seconds")).to_have_text(re.compile("^(900|8[89].)$"))
    refused(noise, 429)


@pytest.fixture
def startable(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """start(**settings): a server of one variant, always at the same address."""
    folder, port = tmp_path_factory.mktemp("started"), free_port()

    def start(**settings: str) -> Any:
        env = environment(store.home, store.lock, TRANSFER_VARIANTS="intent/full", **settings)
        return serving(folder / "log.txt", env, port=port)

    yield start


def test_a_key_is_asked_for_where_one_is_needed(
    startable: Any, open_page: Open, noise: list[str]
) -> None:
    key = "shop-0123456789abcdef"
    with startable(TRANSFER_API_KEYS=key) as server:
        server.wait_until_ready()
        page = open_page(f"{server.url}/")
        expect(page.get_by_role("alert")).to_contain_text("needs a valid API key")
        assert serious(page) == []
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("alert")).to_contain_text("needs a valid API key")
        refused(noise, 401)
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        part = panel(page, "classify")
        for language in ("curl", "Python", "JavaScript"):
            code = copied(part, language)
            assert "KEY" in code and key not in code
        assert key not in page.url


def test_a_key_without_tokens_waits_as_long_as_the_server_says(
    startable: Any, open_page: Open, noise: list[str]
) -> None:
    key = "shop-0123456789abcdef"
    with startable(TRANSFER_API_KEYS=key, TRANSFER_TOKENS_PER_MINUTE="6000") as server:
        server.wait_until_ready()
        page = open_page(f"{server.url}/")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        part = panel(page, "classify")
        refused(noise, 401)
        headers = {"Authorization": f"Bearer {key}"}
        much = {"text": "send money " * 1600}  # some 500 tokens too many
        paid = httpx.post(f"{server.url}/classify", json=much, headers=headers).json()
        assert paid["usage"]["tokens"] > 6300
        part.get_by_label("Text").fill("stolen card")
        with page.expect_response(lambda response: response.status == 429) as answered:
            part.get_by_role("button", name="Classify").click()
        seconds = int(answered.value.headers["retry-after"])
        notice = part.locator(".notice")
        expect(notice).to_contain_text("This key has used up its tokens.")
        assert 1 <= int(notice.locator(".seconds").inner_text()) <= seconds
        expect(headline(part)).to_have_text("freeze_card", timeout=1000 * seconds + WAIT_MS)
        expect(notice).to_have_count(0)
        refused(noise, 429)


def test_a_restart_is_waited_out(startable: Any, open_page: Open, noise: list[str]) -> None:
    with startable() as server:
        server.wait_until_ready()
        page = open_page(f"{server.url}/")
        expect(page.locator(".tabs [role=tab]")).to_have_text(["Classify", "Compare"])
        part = page.locator(".panel.classify")
        part.get_by_label("Text").fill("send money")
        part.get_by_role("button", name="Classify").click()
        expect(headline(part)).to_have_text("transfer_money")
    part.get_by_label("Text").fill("stolen card")
    part.get_by_role("button", name="Classify").click()
    expect(part.locator(".notice")).to_contain_text("The service does not answer.")
    with startable() as server:
        server.wait_until_ready()
        expect(headline(part)).to_have_text("freeze_card")
        expect(part.locator(".notice")).to_have_count(0)
    assert all("ERR_CONNECTION_REFUSED" in said or "503" in said for said in noise), noise
    noise.clear()


# --- for everybody


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    panel(page, "classify")
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_role("link", name="Skip to the playground")).to_be_focused()
    press("Enter")
    press("Tab")
    expect(page.get_by_role("tab", name="Classify")).to_be_focused()
    press("ArrowRight")
    expect(page.get_by_role("tab", name="Answer", exact=True)).to_be_focused()
    part = panel(page, "qa")
    part.get_by_label("Question").fill("something else")
    page.get_by_role("tab", name="Answer", exact=True).focus()
    press("Tab")
    example = part.get_by_role("button", name=SHOWN["qa"][0]["title"])
    expect(example).to_be_focused()
    press("Enter")
    expect(example).to_have_attribute("aria-pressed", "true")
    part.get_by_label("Question").focus()
    press("Control+A")
    page.keyboard.type("where is it")
    press("Tab")
    expect(part.get_by_label("Document")).to_be_focused()
    press("Control+A")
    page.keyboard.type("it is in paris")
    press("Control+Enter")
    expect(headline(part)).to_have_text("paris")
    part.get_by_role("tab", name="curl").focus()
    press("End")
    expect(part.get_by_role("tab", name="JavaScript")).to_be_focused()
    expect(part.locator("pre:visible")).to_contain_text("await fetch(")


def test_the_focus_can_be_seen(page: Page) -> None:
    part = panel(page, "classify")
    page.keyboard.press("Tab")
    for locator in (
        page.get_by_role("tab", name="Classify"),
        part.get_by_role("button", name="Classify"),
        part.get_by_label("Text"),
        part.locator(".chip").first,
    ):
        locator.focus()
        outline = locator.evaluate("e => getComputedStyle(e).outlineStyle")
        assert outline == "solid"


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, server: Server, scheme: str) -> None:
    page = open_page(f"{server.url}/", color_scheme=scheme, reduced_motion="reduce")
    for task in TABS:
        show(page, task)
        assert serious(page) == [], task


def test_axe_finds_nothing_serious_in_a_fault(page: Page, noise: list[str]) -> None:
    part = panel(page, "classify")
    part.get_by_label("Text").fill("")
    part.get_by_role("button", name="Classify").click()
    expect(part.get_by_role("alert")).to_be_visible()
    assert serious(page) == []
    refused(noise, 422)


@pytest.mark.parametrize("task", TABS)
def test_nothing_sticks_out_of_a_narrow_screen(open_page: Open, server: Server, task: str) -> None:
    page = open_page(f"{server.url}/", viewport={"width": 375, "height": 740})
    part = show(page, task)
    if task == "compare":
        part.get_by_role("button", name="Run 50 times").click()
        expect(part.locator(".histogram")).to_be_visible()
        expect(part.locator(".repeat .hint")).to_have_text("50 of 50 runs", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    tabs = page.locator(".tabs")
    assert tabs.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


@pytest.mark.parametrize("width", [375, 700, 900, 1000, 1280, 1600])
def test_the_longest_name_of_a_variant_is_not_cut(
    open_page: Open, server: Server, width: int
) -> None:
    page = open_page(f"{server.url}/", viewport={"width": width, "height": 800})
    for task in ("classify", "qa", "summarize"):
        needed, given = (
            show(page, task)
            .get_by_label("Variant")
            .evaluate(
                """select => {
                  const given = select.getBoundingClientRect().width;
                  select.style.width = "max-content";
                  return [select.getBoundingClientRect().width, given];
                }"""
            )
        )
        assert needed <= given + 0.5, task


def test_the_theme_is_the_systems_until_chosen_and_then_kept(
    open_page: Open, server: Server
) -> None:
    page = open_page(f"{server.url}/", color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme: System").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Theme: Light").click()
    assert page.evaluate(ground) == dark


def test_motion_is_reduced_for_those_who_ask(open_page: Open, server: Server) -> None:
    page = open_page(f"{server.url}/", reduced_motion="reduce")
    panel(page, "classify")
    page.evaluate("document.querySelector('.result').classList.add('arriving')")
    seconds = page.locator(".classify .result").evaluate(
        "e => parseFloat(getComputedStyle(e).animationDuration)"
    )
    assert seconds < 0.001


# --- the frame around it


def test_the_policy_keeps_scripts_of_others_out(page: Page, noise: list[str]) -> None:
    panel(page, "classify")
    assert SOURCES["script-src"] == "'self'"
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.hacked = 1'}))"
    )
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in said for said in noise)
    noise.clear()


def test_swagger_shows_the_routes(open_page: Open, server: Server) -> None:
    page = open_page(f"{server.url}/docs")
    expect(page.locator(".opblock-summary-path").first).to_contain_text("/classify")
