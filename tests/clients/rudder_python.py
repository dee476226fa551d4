"""Send COUNT events with rudder-sdk-python. Usage: URL KEY COUNT."""

import sys
import time

from rudderstack import analytics

url, key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
CONSENT = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}}
analytics.write_key, analytics.dataPlaneUrl, analytics.upload_interval = key, url, 0.2
analytics.host = url
analytics.on_error = lambda error, _: sys.stderr.write(f"{error}\n")
for number in range(count):
    analytics.track("ada", "Product Viewed", {"product_id": f"item-{number}"}, context=dict(CONSENT))
    time.sleep(0.1)
analytics.flush()
analytics.shutdown()
