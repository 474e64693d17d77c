# SPDX-License-Identifier: MIT
"""The page in a browser, where there is one: no request, no error, mouse and keyboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.report.page.data import read
from mixmask_solo.report.page.render import page
from support.pages import run_folder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What a reader does, told in the end as JSON in an attribute of the body.
DOES = """<script>
const told = {errors: [], keys: {}};
addEventListener("error", (e) => told.errors.push(e.message));
addEventListener("securitypolicyviolation", (e) => told.errors.push(e.violatedDirective));
addEventListener("load", async () => {
  const plot = document.querySelector(".plot"), spoken = document.getElementById("spoken");
  const own = charts[0].plot, ends = () => [own.scales.x.min, own.scales.x.max];
  for (const key of ["Home", "ArrowRight", "End", "+", "Escape"]) {
    plot.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    await new Promise((drawn) => setTimeout(drawn, 50));
    told.keys[key] = [spoken.textContent, ...ends()];
  }
  const box = own.over.getBoundingClientRect();
  const at = {clientX: box.left + box.width / 2, clientY: box.top + 20, bubbles: true};
  own.over.dispatchEvent(new MouseEvent("mousemove", at));
  setTimeout(() => {
    told.hover = document.querySelector(".legend").innerText;
    told.over = document.documentElement.scrollWidth - innerWidth;
    told.loaded = performance.getEntriesByType("resource").map((r) => r.name)
      .filter((name) => !name.startsWith("data:"));
    document.body.dataset.told = JSON.stringify(told);
  }, 200);
});
</script>"""


def opened(folders: list[Path], tmp_path: Path, width: int) -> dict[str, Any]:
    html = page(read(folders)).replace("<body>", "<body>" + DOES, 1)
    file = tmp_path / "report.html"
    file.write_text(html, "utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"),
        *("--virtual-time-budget=3000", file.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-told="(.*?)"', done.stdout)
    assert found, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(unescape(found[1]))
    return told


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [1280, 500])
def test_it_draws_without_a_request_and_answers(tmp_path: Path, width: int) -> None:
    folders = [run_folder(tmp_path / str(seed), seed=seed) for seed in (1, 3)]
    told = opened(folders, tmp_path, width)
    assert (told["errors"], told["loaded"]) == ([], [])
    assert told["over"] <= 0  # it scrolls downwards alone
    keys = told["keys"]
    curve = "simclr-mixmask (mean of 2)"
    assert keys["Home"] == [f"epoch 1: {curve} 52 (51 to 53)", 1, 3]
    assert keys["ArrowRight"][0] == f"epoch 2: {curve} 62 (61 to 63)"
    assert keys["End"][0] == f"epoch 3: {curve} 72 (71 to 73)"
    assert keys["+"][1:] == [2, 3]
    assert keys["Escape"][1:] == [1, 3]
    assert "62 (61 to 63)" in told["hover"]
