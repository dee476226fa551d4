"""Send COUNT events with segment-analytics-python. Usage: URL KEY COUNT."""

import sys
import time

from segment import analytics

url, key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
CONSENT = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}}
analytics.write_key, analytics.host, analytics.gzip = key, url, True
analytics.on_error = lambda error, _: sys.stderr.write(f"{error}\n")
for number in range(count):
    analytics.track("ada", "Product Viewed", {"product_id": f"item-{number}"}, context=dict(CONSENT))
    time.sleep(0.1)
analytics.shutdown()
