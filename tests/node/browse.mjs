// Opens pages in one real Chromium, each for a person of its own, and does what it is told: for each line
// {browser, page, served, steps} one line with what was seen, or with the error.
// `served` are files given to the browser in place of addresses it cannot reach: [{url, file, type}]; those without a file
// do not answer.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const can = {
  fill: (page, label, text) => page.getByLabel(label).fill(text),
  check: (page, label) => page.getByLabel(label).check(),
  choose: (page, label, option) => page.getByLabel(label).selectOption(option),
  bring: (page, label, file) => page.getByLabel(label).setInputFiles(file),
  // As from another window: what lies on the place whose text is named.
  drop: async (page, text, file, type) => {
    const told = { name: basename(file), type, base64: readFileSync(file).toString("base64") };
    const carried = await page.evaluateHandle(({ name, type, base64 }) => {
      const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([bytes], name, { type }));
      return carried;
    }, told);
    await page.getByText(text).dispatchEvent("drop", { dataTransfer: carried });
  },
  // So that an upload takes its time.
  slowUploads: async (page, bytesPerSecond) => {
    const session = await page.context().newCDPSession(page);
    const limits = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond };
    await session.send("Network.emulateNetworkConditions", limits);
  },
  // What is painted of an element (PNG), named by its role.
  painted: async (page, role, name) => (await page.getByRole(role, { name }).screenshot()).toString("base64"),
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
  texts: (page, role) => page.getByRole(role).allTextContents(),
  resize: (page, width, height) => page.setViewportSize({ width, height }),
  open: (page, url) => page.goto(url),
  // Every picture of the page, once it is seen: its shown and natural size, what was chosen, and what is painted (PNG).
  pictures: async (page) => {
    const seen = [];
    for (const image of await page.locator("img").all()) {
      await image.scrollIntoViewIfNeeded();
      const told = await image.evaluate(async (element) => {
        await element.decode().catch(() => {});
        const { alt, currentSrc, clientWidth, clientHeight, naturalWidth, naturalHeight } = element;
        return { alt, currentSrc, clientWidth, clientHeight, naturalWidth, naturalHeight };
      });
      seen.push({ ...told, painted: (await image.screenshot()).toString("base64") });
    }
    return seen;
  },
  // Red, green and blue in the middle of each quarter, read from a canvas; or the name of the error.
  quarters: (page, url, crossOrigin) =>
    page.evaluate(
      async ([url, crossOrigin]) => {
        const image = new Image();
        if (crossOrigin) image.crossOrigin = crossOrigin;
        image.src = url;
        await image.decode();
        const { naturalWidth: width, naturalHeight: height } = image;
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        try {
          const at = (x, y) => [...context.getImageData(width * x, height * y, 1, 1).data].slice(0, 3);
          return [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)];
        } catch (error) {
          return error.name;
        }
      },
      [url, crossOrigin],
    ),
  links: (page) => page.getByRole("link").evaluateAll((links) => links.map((each) => each.href)),
  outline: (page) => page.locator("body").ariaSnapshot(),
  focus: (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent),
  title: (page) => page.title(),
};
const options = ["--disable-gpu", "--no-first-run", "--disable-background-networking"];
let browser;

async function visit({ browser: executablePath, page: address, served, steps }) {
  // As root, which only containers are, Chromium has no sandbox.
  browser ??= await chromium.launch({ executablePath, args: options, chromiumSandbox: process.getuid?.() !== 0 });
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
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
    return { seen, errors };
  } finally {
    await context.close();
  }
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const told = await visit(JSON.parse(line)).catch((error) => ({ failed: error.stack }));
    console.log(JSON.stringify(told));
  }
} finally {
  await browser?.close();
}
