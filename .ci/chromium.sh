# Sees to it that a Chromium is there for the browser tests: sh .ci/chromium.sh .venv/bin/python
# Ubuntu's apt package is a stub that wants snap, so Playwright brings its own build there.
python=$1

works() { "$1" --version >/dev/null 2>&1; }

bundled() {
    "$python" -c 'from playwright.sync_api import sync_playwright as start
with start() as p: print(p.chromium.executable_path)' 2>/dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

for name in chromium google-chrome "$(bundled)"; do
    if [ -n "$name" ] && works "$name"; then exit 0; fi
done

echo "Installing Chromium for the browser tests"
. /etc/os-release 2>/dev/null
if [ "$ID" = debian ] && command -v apt-get >/dev/null; then
    as_root apt-get update -q && as_root apt-get install -y -q --no-install-recommends \
        chromium fonts-noto-cjk
else
    "$python" -m playwright install --with-deps chromium
fi
