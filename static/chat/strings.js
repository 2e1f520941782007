// The page's words in the reader's language, handed over by the server, and how numbers look.

const strings = JSON.parse(document.getElementById("strings").textContent);
const language = document.documentElement.lang;

/** The sentence called `key`, with each {name} in it replaced. */
export function say(key, values = {}) {
  return strings[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A number with at most `digits` decimals, as the reader's language writes it. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** A probability as a percentage with three digits that say something. */
export function percent(value) {
  const style = { style: "percent", maximumSignificantDigits: 3 };
  return value > 0 && value < 1e-6 ? `< ${percent(1e-6)}` : new Intl.NumberFormat(language, style).format(value);
}

/** A day, as the reader's language writes it. */
export function day(date) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(date);
}

/** "Today", "Yesterday", a stretch of days or a month, by the reader's own clock. */
export function periodName(date, now = new Date()) {
  const midnight = (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days <= 0) return say("today");
  if (days === 1) return say("yesterday");
  if (days <= 7) return say("last_days", { n: 7 });
  if (days <= 30) return say("last_days", { n: 30 });
  return new Intl.DateTimeFormat(language, { month: "long", year: "numeric" }).format(date);
}

/** Language codes as a list of names in the reader's language. */
export function languageNames(codes) {
  const names = new Intl.DisplayNames([language], { type: "language" });
  return new Intl.ListFormat(language).format(codes.map((code) => names.of(code)));
}
