// Open a page in Chromium that sends COUNT events. Usage: URL KEY COUNT segment|rudder.
// The Segment page is the ordinary snippet with only its host changed.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, key, count, kind] = process.argv.slice(2);
const consent = { categoryPreferences: { analytics: true, personalisation: true } };
const snippet = `!function(){var i="analytics",analytics=window[i]=window[i]||[];if(!analytics.initialize)if(analytics.invoked)window.console&&console.error&&console.error("Segment snippet included twice.");else{analytics.invoked=!0;analytics.methods=["trackSubmit","trackClick","trackLink","trackForm","pageview","identify","reset","group","track","ready","alias","debug","page","screen","once","off","on","addSourceMiddleware","addIntegrationMiddleware","setAnonymousId","addDestinationMiddleware","register"];analytics.factory=function(e){return function(){if(window[i].initialized)return window[i][e].apply(window[i],arguments);var n=Array.prototype.slice.call(arguments);if(["track","screen","alias","group","page","identify"].indexOf(e)>-1){var c=document.querySelector("link[rel='canonical']");n.push({__t:"bpc",c:c&&c.getAttribute("href")||void 0,p:location.pathname,u:location.href,s:location.search,t:document.title,r:document.referrer})}n.unshift(e);analytics.push(n);return analytics}};for(var n=0;n<analytics.methods.length;n++){var key=analytics.methods[n];analytics[key]=analytics.factory(key)}analytics.load=function(key,n){var t=document.createElement("script");t.type="text/javascript";t.async=!0;t.setAttribute("data-global-segment-analytics-key",i);t.src="${url}/analytics.js/v1/"+key+"/analytics.min.js";var r=document.getElementsByTagName("script")[0];r.parentNode.insertBefore(t,r);analytics._loadOptions=n};analytics._writeKey="${key}";analytics.SNIPPET_VERSION="5.2.0";analytics.load("${key}");}}();`;
const pages = {
  segment: `<script>${snippet}</script><script src="${url}/afterclick.js"></script>`,
  rudder: `<script src="/client.js"></script><script>window.client = new rudderanalytics.RudderAnalytics(); client.load("${key}", "${url}", {configUrl: "${url}"});</script>`,
};
const send = {
  segment: `window.send = (n) => analytics.track("Product Viewed", {product_id: "item-" + n}, {context: {consent: ${JSON.stringify(consent)}}}); analytics.identify("ada");`,
  rudder: `window.send = (n) => client.track("Product Viewed", {product_id: "item-" + n}, {consent: ${JSON.stringify(consent)}}); client.identify("ada");`,
};
const html = `<!doctype html><html><head><title>Shop</title></head><body style="height:3000px"><form id="newsletter" action="/thanks" target="hidden"><button>Go</button></form><iframe name="hidden"></iframe>${pages[kind]}<script>${send[kind]}</script></body></html>`;
const server = createServer((request, response) => {
  if (request.url === "/client.js") {
    const file = new URL("./node_modules/@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js", import.meta.url);
    response.writeHead(200, { "Content-Type": "text/javascript" }).end(readFileSync(file));
  } else {
    response.writeHead(200, { "Content-Type": "text/html" }).end(html);
  }
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
page.on("console", (message) => console.error("page:", message.text()));
page.on("requestfailed", (request) => console.error("failed:", request.url(), request.failure()?.errorText));
page.on("pageerror", (error) => console.error("page error:", error.message));
await page.goto(`http://127.0.0.1:${server.address().port}/mug`);
for (let number = 0; number < Number(count); number++) {
  await page.evaluate((n) => window.send(n), number);
  await page.waitForTimeout(100);
}
const answered = (name) => page.waitForResponse((response) => response.request().postData()?.includes(name));
console.log("sent");
process.stdin.resume(); // stays open, so that the client can send again, until the test has seen everything
process.stdin.on("end", async () => {
  if (kind === "segment") {
    // Only now, and each after the other's answer: a page that is left sends what it has no answer to once more, under
    // the same messageId.
    await page.evaluate(() => window.scrollTo(0, 1500));
    await page.waitForTimeout(300);
    await Promise.all([answered("Form Submitted"), page.click("button")]);
    await Promise.all([
      answered("Page Engaged"),
      page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pagehide"))),
    ]);
  }
  await browser.close();
  server.close();
  process.exit(0);
});
