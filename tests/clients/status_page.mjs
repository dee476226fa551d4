// Open the status page in Chromium and print what is seen as JSON. Usage: URL PERSON_URL ITEM_URL SCREENSHOT_FOLDER.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [url, personUrl, itemUrl, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const seen = { violations: {}, errors: [], bytes: 0 };
const figuresOf = (page) => page.evaluate(() =>
  Object.fromEntries([...document.querySelectorAll("[data-figure]")].map((e) => [e.dataset.figure, e.textContent])));
for (const colorScheme of ["light", "dark"]) {
  const context = await browser.newContext({ colorScheme, bypassCSP: true, viewport: { width: 1100, height: 1300 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  const sizes = [];
  page.on("response", (answer) => sizes.push(answer.body().then((body) => body.length)));
  await page.goto(url, { waitUntil: "load" });
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
  seen.firstView = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  seen.bytes = (await Promise.all(sizes.splice(0))).reduce((sum, size) => sum + size, 0);
  page.removeAllListeners("response");
  for (const [name, address] of [["status", url], ["item", itemUrl], ["person", personUrl]]) {
    await page.goto(address, { waitUntil: "load" });
    await page.screenshot({ path: `${folder}/${name}-${colorScheme}.png` });
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    seen[name] = await figuresOf(page);
    seen.violations[`${name} ${colorScheme}`] = found.violations.map((v) => `${v.impact} ${v.id}: ${v.nodes[0].html}`);
  }
  seen.listed = await page.locator("tbody th").allTextContents();
  await page.goto(url);
  seen.figures = await figuresOf(page);
  seen.curve = await page.locator("path.p99").getAttribute("d");
  await page.keyboard.press("Tab");
  seen.firstStop = await page.evaluate(() => document.activeElement.textContent);
  for (let steps = 0; steps < 8; steps++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.id === "pause")) break;
  }
  await page.keyboard.press("Enter");
  seen.paused = await page.locator("#pause").getAttribute("aria-pressed");
  await context.close();
}
console.log(JSON.stringify(seen));
await browser.close();
