"""Photograph a report's page for the gallery.

    nnUNetv2_sa_unet segment SAMPLE -o OUT && nnUNetv2_sa_unet report OUT --references REFERENCES
    python docs/gallery.py OUT docs/gallery

It opens OUT/report.html in Chromium, without a network, and writes the first subject's section as subject.jpg and the
viewer at the largest lesion as viewer.jpg. Chromium, its driver and selenium have to be there.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from base64 import b64decode
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # The viewer's WebGL without a graphics card.
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars", "--window-size=1100,900"),
)


def save(browser: WebDriver, selector: str, path: Path) -> None:
    """Write the picture of an element, all of it, whatever the window shows."""
    box = browser.execute_script(
        "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height, scale: 1}",
        selector,
    )
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": box, "captureBeyondViewport": True})
    Image.open(BytesIO(b64decode(shot["data"]))).convert("RGB").save(path, quality=85, subsampling=0)


def photograph(browser: WebDriver, page: Path, folder: Path) -> None:
    """Write the pictures of a page."""
    browser.get(page.resolve().as_uri())
    images = "Array.from(document.querySelectorAll('section.subject img'))"
    browser.execute_script(f"{images}.forEach(image => image.loading = 'eager')")
    WebDriverWait(browser, 60).until(
        lambda driver: driver.execute_script(f"return {images}.every(image => image.complete)")
    )
    save(browser, "section.subject", folder / "subject.jpg")
    browser.find_element(By.CSS_SELECTOR, "button.open").click()
    WebDriverWait(browser, 60).until(lambda driver: " mm" in driver.find_element(By.ID, "status").text)
    save(browser, "#viewer", folder / "viewer.jpg")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="OUT")
    parser.add_argument("pictures", type=Path)
    args = parser.parse_args()
    args.pictures.mkdir(exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            photograph(browser, args.run / "report.html", args.pictures)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
