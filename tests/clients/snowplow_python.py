"""Send COUNT e-commerce events with snowplow-tracker. Usage: URL KEY COUNT. The app id is the write key."""

import sys
import time
from urllib.parse import urlsplit

from snowplow_tracker import Emitter, SelfDescribing, SelfDescribingJson, Subject, Tracker

url, key, count = urlsplit(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce"
consent = SelfDescribingJson(
    "iglu:com.afterclick/consent/jsonschema/1-0-0",
    {"categoryPreferences": {"analytics": True, "personalisation": True}},
)
emitter = Emitter(str(url.hostname), protocol=url.scheme, port=url.port, batch_size=1, max_retry_delay_seconds=2)
tracker = Tracker("tests", emitter, app_id=key, subject=Subject().set_user_id("ada"))
action = SelfDescribingJson(f"{ECOMMERCE}/snowplow_ecommerce_action/jsonschema/1-0-2", {"type": "product_view"})
for number in range(count):
    product = {"id": f"item-{number}", "category": "mugs", "price": 3.5, "currency": "EUR"}
    entities = [consent, SelfDescribingJson(f"{ECOMMERCE}/product/jsonschema/1-0-0", product)]
    tracker.track(SelfDescribing(action, context=entities))
    time.sleep(0.1)
deadline = time.monotonic() + 60
while emitter.event_store.size() and time.monotonic() < deadline:
    tracker.flush()
    time.sleep(0.5)
