"""Send COUNT CloudEvents with the CloudEvents SDK. Usage: URL KEY COUNT structured|binary."""

import sys
import time

import requests
from cloudevents.v1.http import CloudEvent, to_binary, to_structured

url, key, count, mode = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
CONSENT = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}}
encode = {"structured": to_structured, "binary": to_binary}[mode]


def send(headers: object, body: object) -> None:
    """Post until answered 200: the SDK has no transport of its own."""
    for _ in range(400):
        try:
            answer = requests.post(f"{url}/v1/cloudevents", headers=headers, data=body, auth=(key, ""), timeout=20)
        except requests.ConnectionError:
            time.sleep(0.3)
            continue
        if answer.status_code not in {429, 503}:
            answer.raise_for_status()
            return
        time.sleep(float(answer.headers["Retry-After"]))
    raise SystemExit("gave up")


for number in range(count):
    attributes = {"type": "com.shop.product_viewed", "source": "/shop", "subject": "ada", "id": f"{mode}-{number}"}
    event = CloudEvent(attributes, {"product_id": f"item-{number}", "context": CONSENT})
    send(*encode(event))
    time.sleep(0.1)
