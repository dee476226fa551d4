// Afterclick page script: how long a page was in view, how far it was scrolled, which forms were sent.
// Load it after the Segment (or RudderStack) snippet; it only calls analytics.track. Form contents are never read.
(function (window, document) {
  "use strict";
  var LEAST_MS = 250; // a flicker of a tab is no reading
  var visibleSince = null;
  var dwell = 0;
  var scrolled = 0;
  var path = window.location.pathname;

  function client() {
    return window.analytics || window.rudderanalytics;
  }

  function track(name, properties) {
    var analytics = client();
    if (analytics && analytics.track) analytics.track(name, properties);
  }

  function measureScroll() {
    var root = document.documentElement;
    var height = Math.max(root.scrollHeight, 1);
    var seen = Math.min(100, (100 * (window.scrollY + window.innerHeight)) / height);
    scrolled = Math.max(scrolled, Math.round(seen * 10) / 10);
  }

  function pause() {
    if (visibleSince !== null) dwell += performance.now() - visibleSince;
    visibleSince = null;
  }

  function resume() {
    if (visibleSince === null && document.visibilityState === "visible") visibleSince = performance.now();
  }

  // Sends what has not been sent yet: several parts of one visit add up, none is counted twice.
  function report() {
    pause();
    if (dwell < LEAST_MS) return;
    track("Page Engaged", { dwell_ms: Math.round(dwell), scroll_percent: scrolled, path: path });
    dwell = 0;
  }

  function beginPage() {
    report();
    path = window.location.pathname;
    dwell = 0;
    scrolled = 0;
    measureScroll();
    resume();
  }

  document.addEventListener("visibilitychange", function () {
    if (document.visibilityState === "hidden") report();
    else resume();
  });
  window.addEventListener("pagehide", report); // Safari does not always say hidden before it
  window.addEventListener("pageshow", resume);
  window.addEventListener("scroll", measureScroll, { passive: true });
  document.addEventListener(
    "submit",
    function (event) {
      var form = event.target;
      var name = form.getAttribute("id") || form.getAttribute("name");
      track("Form Submitted", { form_id: name, path: window.location.pathname });
    },
    true
  );
  var analytics = client();
  if (analytics && analytics.on) analytics.on("page", beginPage); // one-page applications
  measureScroll();
  resume();
})(window, document);
