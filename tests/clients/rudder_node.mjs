// Send COUNT events with @rudderstack/rudder-sdk-node. Usage: URL KEY COUNT.
import { setTimeout as sleep } from "node:timers/promises";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";

const [url, key, count] = process.argv.slice(2);
const context = { consent: { categoryPreferences: { analytics: true, personalisation: true } } };
const Client = RudderAnalytics.default ?? RudderAnalytics;
const analytics = new Client(key, { dataPlaneUrl: url, flushAt: 5, flushInterval: 200, retryCount: 10 });
for (let number = 0; number < Number(count); number++) {
  analytics.track({ userId: "ada", event: "Product Viewed", properties: { product_id: `item-${number}` }, context });
  await sleep(100);
}
await analytics.flush();
process.exit(0);
