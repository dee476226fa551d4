// Send COUNT events with @segment/analytics-node. Usage: URL KEY COUNT.
import { setTimeout as sleep } from "node:timers/promises";
import { Analytics } from "@segment/analytics-node";

const [url, writeKey, count] = process.argv.slice(2);
const context = { consent: { categoryPreferences: { analytics: true, personalisation: true } } };
const analytics = new Analytics({ writeKey, host: url, flushAt: 1 });
analytics.on("error", (error) => console.error("error", error));
for (let number = 0; number < Number(count); number++) {
  analytics.track({ userId: "ada", event: "Product Viewed", properties: { product_id: `item-${number}` }, context });
  await sleep(100);
}
await analytics.closeAndFlush({ timeout: 60000 });
