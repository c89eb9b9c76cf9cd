"""The page in a real browser, opened from its file, as a user does: no server, no network."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from nnunetv2_sa_unet.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver (Debian's packages chromium and chromium-driver)"
)

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    # A machine without a graphics card draws WebGL in software.
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "--window-size=900,700",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        driver.set_script_timeout(60)
        yield driver
        driver.quit()


@pytest.fixture
def page(make_run: Any, make_head: Any, browser: Any, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Opens the report of a run: of real volumes where they are, else of small heads; returns its file."""

    def open_it(references: bool = False) -> Path:
        run = make_run()
        truths = run.inputs / "references"
        truths.mkdir()
        for name, head in heads(request, make_head).items():
            run.add(name, head, probabilities=True)
            SimpleITK.WriteImage(head.image(np.roll(head.labels, 1, axis=2)), str(truths / f"{name}.nii.gz"))
        run.fail("broken", "FLAIR is 4D")
        path = write_report(run.write(), truths if references else None)
        browser.get(path.as_uri())
        return path

    return open_it


def heads(request: pytest.FixtureRequest, make_head: Any) -> dict[str, Any]:
    """Two real subjects with their manual labels for masks, or two small heads."""

    class Real:
        def __init__(self, name: str) -> None:
            self.grid = SimpleITK.ReadImage(str(data / "imagesTr" / f"{name}_0000.nii.gz"))
            self.flair = SimpleITK.GetArrayFromImage(self.grid)
            self.labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(data / "labelsTr" / f"{name}.nii.gz")))

        def image(self, array: Any) -> SimpleITK.Image:
            image = SimpleITK.GetImageFromArray(array)
            image.CopyInformation(self.grid)
            return image

    try:
        data = request.getfixturevalue("shared") / "data" / "Dataset100_FLAIRWMH"
    except pytest.skip.Exception:
        many = (
            make_head().add(slice(5, 8), slice(55, 65), slice(30, 40)).add(slice(9, 10), slice(40, 43), slice(50, 53))
        )
        return {"many": many, "few": make_head(1).add(slice(6, 7), slice(60, 64), slice(30, 36))}
    return {"many": Real("ms104670"), "few": Real("sv105911")}


def rows(browser: Any) -> list[str]:
    """The subjects in the order of the table."""
    script = "return Array.from(document.querySelectorAll('#subjects tbody th'), cell => cell.textContent)"
    return list(browser.execute_script(script))


def wait_for(browser: Any, condition: str) -> Any:
    """What a JavaScript expression gives as soon as it is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(f"return {condition}"))


def status_with(browser: Any, words: str) -> str:
    """What stands below the viewer as soon as it has these words."""
    status = "document.getElementById('status').textContent"
    return str(wait_for(browser, f"{status}.includes('{words}') && {status}"))


def complaints(browser: Any) -> list[str]:
    """What the console had to say."""
    return [entry["message"] for entry in browser.get_log("browser")]


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def pixels(browser: Any) -> np.ndarray:
    """What the viewer shows."""
    (left, top, width, height) = browser.execute_script(
        "const box = document.getElementById('canvas').getBoundingClientRect();"
        "return [box.left + scrollX, box.top + scrollY, box.width, box.height]"
    )
    clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return np.asarray(Image.open(BytesIO(base64.b64decode(shot["data"]))).convert("RGB")).astype(int)


def orange(picture: np.ndarray) -> int:
    """How many pixels have the colour of the mask."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    return int(((red - blue > 40) & (red > green + 10)).sum())


def test_the_table_sorts_by_mouse_and_keyboard_and_the_sections_follow(page: Any, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page()
    assert rows(browser) == ["many", "few", "broken"]
    heads = {head.text: head for head in browser.find_elements(By.CSS_SELECTOR, "#subjects th[aria-sort]")}
    heads["WMH ml"].find_element(By.TAG_NAME, "button").click()
    assert rows(browser) == ["many", "few", "broken"]
    assert heads["WMH ml"].get_attribute("aria-sort") == "descending"
    heads["WMH ml"].find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    # What has no volume stays at the end.
    assert rows(browser) == ["few", "many", "broken"]
    assert heads["WMH ml"].get_attribute("aria-sort") == "ascending"
    heads["Subject"].find_element(By.TAG_NAME, "button").click()
    assert rows(browser) == ["broken", "few", "many"]
    assert heads["WMH ml"].get_attribute("aria-sort") == "none"
    names = "return Array.from(document.querySelectorAll('.subject h2'), head => head.textContent)"
    assert browser.execute_script(names) == ["broken", "few", "many"]
    assert complaints(browser) == []


def test_keys_lead_through_the_subjects_and_hide_the_outlines(page: Any, browser: Any) -> None:
    page()
    where = "return document.activeElement.id"
    for key, expected in (("n", "many"), ("n", "few"), ("n", "broken"), ("p", "few")):
        press(browser, key)
        assert browser.execute_script(where) == f"subject-{expected}"
        box = browser.execute_script("return document.activeElement.getBoundingClientRect().top")
        assert -1 <= box < browser.execute_script("return innerHeight")
    shown = "return getComputedStyle(document.querySelector('.mosaic svg')).display"
    before = browser.execute_script(shown)
    press(browser, "o")
    assert (before, browser.execute_script(shown)) == ("block", "none")
    press(browser, "t")
    assert browser.execute_script(where) == "cohort"
    assert complaints(browser) == []


def test_every_picture_is_loaded_and_has_its_outlines(page: Any, browser: Any) -> None:
    page(references=True)
    count = browser.execute_script(
        "document.querySelectorAll('.tile img').forEach(image => { image.loading = 'eager' });"
        "return document.querySelectorAll('.tile img').length"
    )
    assert count > 20
    wait_for(browser, "Array.from(document.querySelectorAll('.tile img')).every(image => image.naturalWidth > 0)")
    kinds = "return Array.from(document.querySelectorAll('.tile path'), path => path.className.baseVal)"
    assert {"wmh", "reference"} <= set(browser.execute_script(kinds))
    assert complaints(browser) == []


def test_in_print_every_subject_has_its_slices_and_no_buttons(page: Any, browser: Any) -> None:
    page()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = browser.execute_script(
            "return Array.from(document.querySelectorAll('main button'), b => b.closest('thead') ? 0 : b.offsetHeight)"
        )
        assert set(shown) == {0}
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    # Pictures of slices that were never scrolled into sight are on the paper too.
    assert printed.count(b"/Subtype /Image") >= 2


def test_the_viewer_opens_at_the_largest_lesion_fades_the_mask_and_goes_to_the_next(page: Any, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    path = page(references=True)
    browser.find_element(By.CSS_SELECTOR, "#subject-many button.open").click()
    said = status_with(browser, " mm")
    # The crosshair stands on a voxel of the mask, which has the probability of one.
    assert said.startswith("many · ")
    assert "WMH · probability 0.80" in said
    assert browser.execute_script("return document.activeElement.id") == "canvas"
    browser.find_element(By.ID, "reference").send_keys(Keys.HOME)
    slider = browser.find_element(By.ID, "mask")
    assert orange(pixels(browser)) > 100
    slider.send_keys(Keys.HOME)
    assert slider.get_attribute("value") == "0"
    faded = pixels(browser)
    assert orange(faded) == 0
    # The image stays.
    assert faded.max() > 150
    canvas = browser.find_element(By.ID, "canvas")
    for key in (Keys.ARROW_UP, Keys.ARROW_RIGHT):
        before = browser.find_element(By.ID, "status").text
        canvas.send_keys(key)
        assert browser.find_element(By.ID, "status").text != before
    assert complaints(browser) == []
    # Keys that NiiVue has and the page has not do nothing.
    before = browser.find_element(By.ID, "status").text
    press(browser, "k", "l", "u")
    assert browser.find_element(By.ID, "status").text == before
    # Keys of the page work from within the viewer. A file that is missing is named, and found once it is there.
    volumes = path.parent / "report" / "volumes" / "few.js"
    volumes.rename(volumes.with_suffix(".away"))
    press(browser, "n", "v")
    assert "report/volumes/few.js" in status_with(browser, "cannot be loaded")
    assert not canvas.is_displayed()
    assert len(complaints(browser)) == 1
    volumes.with_suffix(".away").rename(volumes)
    press(browser, "v")
    assert status_with(browser, "few · ")
    canvas.send_keys(Keys.ESCAPE)
    assert not canvas.is_displayed()
    assert browser.execute_script("return document.activeElement.closest('.subject').id") == "subject-few"
    assert complaints(browser) == []
