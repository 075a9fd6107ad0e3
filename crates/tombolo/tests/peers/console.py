"""Drives a headless Chromium over WebDriver through every page of the console, as a person would: by links, forms and
keys. What a browser complains about, what axe-core finds and what does not come live ends it. The one argument is JSON:
where everything is. Screenshots stay in a folder."""

import base64, json, os, subprocess, sys, time, urllib.error, urllib.request

given = json.loads(sys.argv[1])
api, gateway, zipkin = given["api"], given["gateway"], given["zipkin"]
axe = open(given["axe"]).read()
os.makedirs(given["screenshots"], exist_ok=True)
PATIENCE = 40


def call(method, url, body=None, kind="application/json"):
    data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def eventually(what, answer):
    begun = time.monotonic()
    while True:
        found = answer()
        if found:
            return found
        assert time.monotonic() - begun < PATIENCE, f"never: {what}\n{browser.script('return document.body.innerText')}"
        time.sleep(0.1)


class Browser:
    KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": "\ue00d"}

    def __init__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.at = "http://127.0.0.1:" + line.strip().rstrip(".").split()[-1]
                break
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]}
        wished = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self.session = None
        self.session = self.ask("POST", "/session", {"capabilities": wished})["sessionId"]

    def ask(self, method, path, body=None):
        path = path if self.session is None else f"/session/{self.session}{path}"
        value = json.loads(call(method, self.at + path, body if method == "GET" else body or {}))["value"]
        assert not (isinstance(value, dict) and value.get("error")), value
        return value

    def close(self):
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()

    def go(self, path):
        self.ask("POST", "/url", {"url": api + path})

    def script(self, text, *arguments):
        return self.ask("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def element(self, css):
        return next(iter(self.ask("POST", "/element", {"using": "css selector", "value": css}).values()))

    def text(self, css="main"):
        return self.script("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def click(self, css):
        # The page scrolls smoothly, and the driver does not wait for it.
        self.script("document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", css)
        self.ask("POST", f"/element/{self.element(css)}/click")

    def type(self, css, text):
        self.ask("POST", f"/element/{self.element(css)}/value", {"text": text})

    def press(self, *keys):
        actions = []
        for key in keys:
            key = self.KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def focused(self):
        return self.script("const a = document.activeElement; return a.id || a.innerText || a.name || a.tagName")

    def media(self, scheme):
        feature = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": feature}})

    def size(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def shot(self, name):
        with open(os.path.join(given["screenshots"], name + ".png"), "wb") as file:
            file.write(base64.b64decode(self.ask("GET", "/screenshot")))

    def complaints(self):
        return [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})
                if entry["level"] in ("SEVERE", "WARNING")]

    def check(self, name):
        """What holds for every page, in both colours and on a phone's width."""
        for scheme in ("dark", "light"):
            self.media(scheme)
            for width, height, device in ((1280, 900, ""), (390, 844, "-phone")):
                self.size(width, height)
                self.shot(f"{name}-{scheme}{device}")
                wide = self.script("return document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} wide on {width}"
            self.size(1280, 900)
            found = self.script(axe + "; return axe.run(document, {resultTypes: ['violations']})")["violations"]
            serious = [f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
                       for one in found if one["impact"] in ("serious", "critical")]
            assert not serious, f"{name} in {scheme}:\n" + "\n".join(serious)
        complaints = self.complaints()
        assert not complaints, f"{name}: {complaints}"


def now_us():
    return int(time.time() * 1e6)


traces = 0


def trace(services, failed=False):
    """Spans of one trace: each service calls the next."""
    global traces
    traces += 1
    start, spans = now_us() - 200_000, []
    for depth, service in enumerate(services):
        end = {"localEndpoint": {"serviceName": service}, "traceId": f"{traces:016x}", "name": "get /" + service}
        lasts, begins = 100_000 - depth * 20_000, start + depth * 8_000
        server = dict(end, id=f"{depth * 2 + 1:016x}", kind="SERVER", timestamp=begins, duration=lasts,
                      tags={"http.path": "/" + service})
        if depth:
            server["parentId"] = f"{depth * 2:016x}"
        spans.append(server)
        if depth + 1 < len(services):
            spans.append(dict(end, id=f"{depth * 2 + 2:016x}", parentId=server["id"], kind="CLIENT",
                              timestamp=begins + 4_000, duration=lasts - 10_000,
                              annotations=[{"timestamp": begins + 5_000, "value": "connected"}]))
    if failed:
        spans[-1]["tags"]["error"] = "503"
    assert call("POST", zipkin + "/api/v2/spans", spans) == ""
    return f"{traces:016x}"


STORIES = []


def story(run):
    STORIES.append(run)
    return run


@story
def overview():
    for turn in range(20):
        trace(["gateway", "web", "cart", "stock"], failed=turn % 5 == 0)
    browser.go("/")
    eventually("the map has the calls", lambda: "stock" in browser.text("#calls"))
    assert browser.text("#map").count("p99") >= 1 or "/min" in browser.text("#map"), browser.text("#map")
    browser.check("overview")
    # Several ways to one service, a way over several layers, and a circle.
    for way in (["gateway", "web", "orders", "payments"], ["orders", "cart"], ["gateway", "api", "cart", "mysql"],
                ["orders", "mysql"], ["payments", "web"], ["api", "search"]):
        trace(way, failed=way[-1] == "payments")
    eventually("the map has grown", lambda: "search" in browser.text("#map"))
    browser.check("map")
    # A call that was not there comes by itself: the page is not loaded again.
    browser.script("window.stays = true")
    trace(["gateway", "web", "warehouse"])
    eventually("a new service comes live", lambda: "warehouse" in browser.text("#map"))
    assert browser.script("return window.stays"), "the page was not loaded again"
    assert browser.text("#live-state") == "Live"
    # Who stands on a node with the keyboard stays there while the map changes.
    browser.script("document.querySelector('#map a[href*=web]').focus()")
    trace(["gateway", "web", "harbour"])
    eventually("another comes", lambda: "harbour" in browser.text("#map"))
    assert "web" in browser.script("return document.activeElement.getAttribute('href')")
    browser.click("footer button[type=button]")
    assert browser.text("#live-state") == "Paused"


@story
def keyboard():
    browser.go("/")
    browser.press("Tab")
    assert browser.focused() == "Skip to the page", browser.focused()
    browser.press("Enter")
    assert browser.focused() == "main", browser.focused()
    browser.go("/")
    browser.press("Tab", "Tab", "Tab", "Tab")
    assert browser.focused() == "Traces", browser.focused()
    browser.press("Enter")
    eventually("the link was followed", lambda: browser.text("h1") == "Traces")
    browser.press("/")
    assert browser.focused() == "serviceName" or "any" in browser.focused(), browser.focused()


@story
def traces_and_waterfall():
    known = trace(["gateway", "web", "cart", "stock"], failed=True)
    browser.go("/traces?serviceName=stock&annotationQuery=error")
    eventually("the trace is found", lambda: browser.go("/traces?traceId=" + known) or "web" in browser.text())
    browser.go("/traces")
    browser.check("traces")
    browser.script("document.querySelector('select[name=serviceName]').value = 'stock'")
    browser.type("input[name=annotationQuery]", "error")
    browser.click("form.ask button")
    eventually("only what failed is left", lambda: "annotationQuery=error" in browser.script("return location.href"))
    browser.click(f"ol.found a[href='/traces/{known}']")
    eventually("the waterfall", lambda: browser.text("h1") == "gateway get /gateway")
    browser.check("trace")
    opened = "return document.querySelectorAll('details.span[open]').length"
    before = browser.script(opened)
    browser.script("document.querySelector('details.span > summary').focus()")
    browser.press("Enter")
    assert browser.script(opened) == before - 1, "a key closes what is below a span"
    browser.press("Enter")
    browser.click(".tools button")
    assert browser.script(opened) == 7, browser.script(opened)
    browser.shot("trace-open")
    browser.click("a[href$='zoom=0000000000000007']")
    eventually("a zoom has an address", lambda: "zoomed into" in browser.text())
    browser.go("/traces/00000000000000ff")
    assert "hint" in browser.text() and "not_found" in browser.text()
    browser.complaints()


def ask_gateway(path, times=1):
    for _ in range(times):
        call("GET", gateway + path)


@story
def routes():
    ask_gateway("/shop", 5)
    ask_gateway("/fail", 2)
    browser.go("/routes")
    eventually("rates are counted", lambda: "100%" in browser.text("#routes"))
    assert "did you mean `setQuery`?" in browser.text()
    browser.check("routes")
    browser.script("window.stays = true")
    ask_gateway("/fixed", 3)
    fixed = "return [...document.querySelectorAll('#routes tr')].find((row) => row.innerText.startsWith('fixed'))?.innerText"
    eventually("a rate comes live", lambda: "–" not in browser.script(fixed))
    assert browser.script("return window.stays")
    browser.type("input[name=url]", "/shop")
    browser.click("form.ask button")
    eventually("the route is told", lambda: "takes shop" in browser.text(".explained"))
    browser.check("explained")


@story
def services():
    browser.go("/services/web")
    assert "signed in" in browser.text() and not browser.text(".lines"), browser.text()
    browser.ask("POST", "/url", {"url": given["link"]})
    eventually("signed in", lambda: "Sign out" in browser.text("footer"))
    browser.go("/services")
    browser.check("services")
    browser.click("a[href='/services/web']")
    eventually("what it printed", lambda: "is asked for" in browser.text("#lines"))
    browser.script("window.stays = true")
    ask_gateway("/fail?live")
    eventually("a line comes live", lambda: "fails <b>as asked</b>" in browser.text("#lines li.err"))
    assert browser.script("return window.stays")
    browser.check("service")
    number = "return document.querySelector('#instances tbody td.number').innerText"
    before = browser.script(number)
    browser.click("form[action='/services/web/restart'] button")
    eventually("another process", lambda: browser.script(number) not in (before, "–"))
    eventually("healthy again", lambda: "healthy" in browser.text("#instances"))
    assert "restart" not in browser.script("return location.href"), "loading the page again restarts nothing"


def append(stream, kind, data, metadata=None):
    message = {"type": kind, "data": data, "metadata": metadata or {}}
    answer = json.loads(call("POST", f"{api}/api/v1/streams/{stream}/messages", message))
    assert "error" not in answer, answer
    return answer


def trace_of_time_now(trace_id):
    span = {"traceId": trace_id, "id": "1", "name": "place", "kind": "PRODUCER", "timestamp": now_us() - 1000,
            "duration": 500_000, "localEndpoint": {"serviceName": "web"}}
    call("POST", zipkin + "/api/v2/spans", [span])


@story
def streams():
    browser.go("/streams")
    known = "4bf92f3577b34da6a3ce929d0e0e4736"
    trace_of_time_now(known)
    append("order-1", "Placed", {"total": 12.50, "lines": [{"item": "rope <b>", "count": 3}]},
           {"traceparent": f"00-{known}-0000000000000001-01"})
    eventually("a message comes live", lambda: "The latest messages" in browser.text("#streams"))
    browser.check("streams")
    browser.click("#streams a[href='/streams/order']")
    eventually("the category", lambda: browser.text("h1") == "order")
    browser.click("ol.found summary")
    assert '"item": "rope <b>"' in browser.text("ol.found"), browser.text("ol.found")
    browser.check("stream")
    browser.click("ol.found a[href^='/messages/']")
    eventually("the message", lambda: browser.text("h1") == "Placed")
    placed = json.loads(call("GET", api + "/streams/order-1.json"))["messages"][0]["global_position"]
    append("stock-1", "Reserved", {}, {"causationMessageGlobalPosition": placed, "correlationStreamName": "order-1"})
    browser.go(browser.script("return location.pathname"))
    eventually("what followed", lambda: "Reserved" in browser.text("ul.causes"))
    browser.check("message")
    browser.click(f"a[href='/traces/{known}']")
    eventually("the trace, and back", lambda: "Messages of this trace" in browser.text())
    browser.check("trace-with-messages")
    browser.click("ol.found a[href^='/messages/']")
    eventually("the message again", lambda: browser.text("h1") == "Placed")


@story
def consumers():
    append("order-7", "Placed", {"fail": True})
    append("order-8", "Placed", {"fail": True})
    browser.ask("POST", "/url", {"url": given["link"]})
    browser.go("/consumers")
    eventually("what failed is given up", lambda: "2" in browser.script(
        "return document.querySelectorAll('#consumers tbody td.number')[1]?.innerText ?? ''"))
    browser.check("consumers")
    browser.click("#consumers a[href='/consumers/billing']")
    eventually("why", lambda: "500" in browser.text("#dead"))
    browser.check("consumer")
    letters = "return document.querySelectorAll('#dead li').length"
    assert browser.script(letters) == 2
    browser.click("#dead form[action$='/skip'] button")
    eventually("one is skipped", lambda: browser.script(letters) == 1)
    browser.click("#dead form[action$='/retry'] button")
    eventually("the other is tried again", lambda: "given up 2 times" in browser.text("#dead"))


@story
def charts():
    ask_gateway("/shop", 20)
    ask_gateway("/fail", 3)
    browser.go("/charts")
    eventually("plots", lambda: browser.script("return document.querySelectorAll('.plot').length") >= 8)
    eventually("an error is drawn", lambda: browser.script("return document.querySelectorAll('.run.bad').length") >= 1)
    browser.check("charts")


@story
def doctor():
    ask_gateway("/shop", 5)
    browser.go("/doctor")
    eventually("traces are looked at", lambda: "Looked at" in browser.text("body") and "No traces" not in browser.text("body"))
    browser.check("doctor")


@story
def twins():
    """Every page that the others went through has a twin that is JSON, and none is blank without a script."""
    for path in ("/overview", "/traces", "/routes", "/services", "/services/web", "/streams", "/streams/order",
                 "/consumers", "/consumers/billing", "/charts", "/doctor"):
        json.loads(call("GET", api + path + ".json"))
        assert len(call("GET", api + path)) > 1_500, path


# More stories are put in here.
browser = Browser()
try:
    for run in STORIES:
        if len(sys.argv) < 3 or run.__name__ in sys.argv[2:]:
            run()
            print(run.__name__, "is well", flush=True)
finally:
    browser.close()
