"""Takes the pictures of the dashboard and of `fastq top` in the documentation: python docs/images/make.py

A database of its own, an app whose jobs succeed, fail and wait, workers for ten minutes, and chromium.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psycopg

from fastq.top.screen import Top

HERE = Path(__file__).parent
PORT = 8097
FEED_S = int(os.environ.get("FEED_S", "600"))
APP = """
import asyncio, random, sys
import fastq

app = fastq.App()

@app.task(queue="mail", retries=1, backoff=2, redact=("password",))
async def send_mail(user_id: int, template: str, password: str):
    await asyncio.sleep(random.random() / 20)
    if random.random() < 0.03:
        raise ConnectionError("smtp.example.com refused the connection")

@app.task(queue="images")
async def resize(path: str, width: int):
    await asyncio.sleep(random.random() / 5)

@app.task(queue="reports", keep=600)
async def report(ctx: fastq.Context, month: str) -> dict:
    for step in range(10):
        await ctx.progress(step / 10, f"{step} of 10 sheets")
        await asyncio.sleep(1)
    return {"rows": 120}

@app.cron("*/5 * * * *")
async def tidy(): ...

async def feed(seconds: int):
    async with app:
        await app.schedules.set("report-42", "0 7 * * MON", report.job(month="last"), tz="Europe/Athens")
        for second in range(seconds):
            many = 60 + 40 * (second // 20 % 2)
            users = (random.randrange(9999) for _ in range(many))
            await app.enqueue_many(send_mail.job(user_id=n, template="welcome", password="x") for n in users)
            await app.enqueue_many(resize.job(path=f"/{second}/{n}.png", width=800) for n in range(20))
            await report.enqueue(month="2026-11")
            await resize.options(delay=3600).enqueue(path="/later.png", width=100)
            await asyncio.sleep(1)

if __name__ == "__main__":
    asyncio.run(feed(int(sys.argv[1])))
"""
PAGES = {
    "overview": "/?span=15m",
    "jobs": "/jobs?state=failed",
    "job": "",
    "queues": "/queues",
    "queue": "/queue?name=mail&span=15m",
    "tasks": "/tasks",
    "task": "/task?task=shop.send_mail&span=15m",
    "schedules": "/schedules",
    "workers": "/workers",
}


def shoot(url: str, name: str, *more: str, width: int = 1440, height: int = 900) -> None:
    """Take one picture."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("chromium is missing")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *more]
    command += [f"--window-size={width},{height}", f"--screenshot={HERE / name}", url]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    sys.stdout.write(f"{name}\n")


def main() -> None:
    """Fill a database, serve it, take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        os.environ["FASTQ_HOME"] = f"{folder}/home"
        dsn = run("db", "start").splitlines()[-1]
        try:
            run("migrate", "--dsn", dsn)
            show(folder, dsn)
        finally:
            run("db", "stop")


def run(*args: str) -> str:
    """Run a command of fastq; returns what it said."""
    return subprocess.run([sys.executable, "-m", "fastq", *args], check=True, capture_output=True, text=True).stdout


def show(folder: str, dsn: str) -> None:
    """Run an app, serve the page, take the pictures."""
    Path(folder, "shop.py").write_text(APP)
    env = {**os.environ, "FASTQ_DSN": dsn}
    fastq = [sys.executable, "-m", "fastq"]
    worker = subprocess.Popen([*fastq, "worker", "shop:app", "-p", "2"], cwd=folder, env=env)
    page = subprocess.Popen([*fastq, "dashboard", "--port", str(PORT)], cwd=folder, env=env)
    try:
        subprocess.run([sys.executable, "shop.py", str(FEED_S)], cwd=folder, env=env, check=True)
        time.sleep(12)  # until the counters are written
        pictures(f"http://127.0.0.1:{PORT}")
        asyncio.run(terminal(dsn))
    finally:
        for process in (page, worker):
            process.terminate()
            process.wait()


def pictures(site: str) -> None:
    """Take all pictures: each page, and the first one in the dark and on a telephone."""
    with urllib.request.urlopen(f"{site}/jobs?state=failed") as answer:
        first = answer.read().decode().partition("/job?id=")[2].partition('"')[0]
    for name, path in PAGES.items():
        shoot(site + (path or f"/job?id={first}"), f"dashboard-{name}.png")
    shoot(f"{site}/?span=15m", "dashboard-dark.png", "--blink-settings=preferredColorScheme=0")
    shoot(f"{site}/?span=15m", "dashboard-telephone.png", width=390, height=1200)


async def terminal(dsn: str) -> None:
    """Take pictures of `fastq top` in a terminal of 80 columns and 24 lines."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        top = Top(lambda question: question(conn))
        async with top.run_test(size=(80, 24)) as pilot:
            await pilot.pause(3)
            top.save_screenshot(filename="top.svg", path=str(HERE))
            await pilot.press("j")
            await pilot.pause(2)
            top.save_screenshot(filename="top-jobs.svg", path=str(HERE))


if __name__ == "__main__":
    main()
