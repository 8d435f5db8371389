// Opens a page in a real Chromium and does what it is told. Reads {browser, page, served, steps}, writes what was seen.
// `served` are files given to the browser in place of addresses it cannot reach: [{url, file, type}]; those without a file
// do not answer.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { browser: executablePath, page: address, served, steps } = JSON.parse(readFileSync(0, "utf8"));
const can = {
  fill: (page, label, text) => page.getByLabel(label).fill(text),
  check: (page, label) => page.getByLabel(label).check(),
  choose: (page, label, option) => page.getByLabel(label).selectOption(option),
  press: (page, name) => page.getByRole("button", { name }).click(),
  type: (page, keys) => page.keyboard.press(keys),
  waitForText: (page, text) => page.getByText(text).waitFor(),
  statuses: (page) => page.getByRole("status").allTextContents(),
  figures: async (page) =>
    Object.fromEntries(
      await page.locator("dl").evaluate((list) => {
        const texts = (tag) => [...list.querySelectorAll(tag)].map((each) => each.textContent);
        return texts("dt").map((name, number) => [name, texts("dd")[number]]);
      }),
    ),
  picture: (page) =>
    page.locator("img").evaluate(async (image) => {
      // As people see it: a style may show what has the attribute.
      const hidden = !image.checkVisibility();
      if (!hidden) await image.decode();
      const { alt, naturalWidth, naturalHeight } = image;
      return { alt, hidden, naturalWidth, naturalHeight };
    }),
  links: (page) => page.getByRole("link").evaluateAll((links) => links.map((each) => each.href)),
  outline: (page) => page.locator("body").ariaSnapshot(),
  focus: (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent),
  title: (page) => page.title(),
};
const options = ["--disable-gpu", "--no-first-run", "--disable-background-networking"];
// As root, which only containers are, Chromium has no sandbox.
const browser = await chromium.launch({ executablePath, args: options, chromiumSandbox: process.getuid?.() !== 0 });
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  for (const { url, file, type } of served) {
    const headers = { "access-control-allow-origin": "*" };
    const answer = { path: file, contentType: type, headers };
    await page.route(url, (route) => (file ? route.fulfill(answer) : route.abort()));
  }
  await page.goto(address);
  const seen = [];
  for (const [name, ...rest] of steps) seen.push((await can[name](page, ...rest)) ?? null);
  console.log(JSON.stringify({ seen, errors }));
} finally {
  await browser.close();
}
