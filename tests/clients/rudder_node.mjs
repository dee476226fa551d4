// Send COUNT events with @rudderstack/rudder-sdk-node. Usage: URL KEY COUNT.
import { setTimeout as sleep } from "node:timers/promises";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";

const [url, key, count] = process.argv.slice(2);
const context = { consent: { categoryPreferences: { analytics: true, personalisation: true } } };
const Client = RudderAnalytics.default ?? RudderAnalytics;
const analytics = new Client(key, { dataPlaneUrl: url, flushAt: 5, flushInterval: 200, retryCount: 10 });
let delivered = 0;
for (let number = 0; number < Number(count); number++) {
  const message = { userId: "ada", event: "Product Viewed", properties: { product_id: `item-${number}` }, context };
  analytics.track(message, (error) => (error ? console.error("error", error) : delivered++));
  await sleep(100);
}
// flush() waits for the newest request only: the callbacks tell when the others have been delivered.
for (const end = Date.now() + 60000; delivered < Number(count) && Date.now() < end; ) await sleep(100);
process.exit(delivered === Number(count) ? 0 : 1);
