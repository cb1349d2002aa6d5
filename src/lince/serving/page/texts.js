// The page's texts in the visitor's language, from the service's catalogues. Labels of the API are never changed.

const LOCALES = { en: "en", pt: "pt-BR" };
const CHOSEN = "lince-language"; // in localStorage

let language = "en";
let texts = {};

/** The language that the visitor has chosen, or the first of the browser's that there is. */
export function preferredLanguage() {
  const wanted = [stored(), ...navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase())];
  return wanted.find((one) => one in LOCALES) ?? "en";
}

/** Loads a language, and puts its texts into the elements that name one. */
export async function useLanguage(chosen) {
  const response = await fetch(`page/texts/${chosen}.json`);
  if (!response.ok) throw new Error(`page/texts/${chosen}.json: ${response.status}`);
  texts = await response.json();
  language = chosen;
  document.documentElement.lang = LOCALES[language];
  document.title = text("page.title.tab");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = text(element.dataset.label);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.ariaPressed = String(button.dataset.language === language);
  }
}

export function remember(chosen) {
  try {
    localStorage.setItem(CHOSEN, chosen);
  } catch {} // a browser that stores nothing asks for the language again
}

function stored() {
  try {
    return localStorage.getItem(CHOSEN);
  } catch {
    return null;
  }
}

export function hasText(key) {
  return key in texts;
}

/** One text, with values in the places of {name}; `count` chooses the plural, and is shown as a number. */
export function text(key, values = {}) {
  const { count } = values;
  const found = texts[count === undefined ? key : `${key}.${count === 1 ? "one" : "other"}`] ?? key;
  const shown = count === undefined ? values : { ...values, count: number(count) };
  return found.replace(/\{(\w+)\}/g, (_, name) => shown[name]);
}

/** How to show a label: CIFAR-10's in the page's language, all others as they are. */
export function className(label, classes) {
  const translated = Object.keys(texts).filter((key) => key.startsWith("class."));
  const isTranslated = classes.length === translated.length && translated.every((key) => classes.includes(key.slice(6)));
  return (isTranslated && texts[`class.${label}`]) || label;
}

/** `a, b or c`; of more than `most`, the first ones and how many more there are. */
export function listed(names, most = 5) {
  const shown = names.slice(0, most);
  if (names.length > most) return text("page.more_names", { names: shown.join(", "), rest: number(names.length - most) });
  if (shown.length < 2) return shown.join("");
  return `${shown.slice(0, -1).join(", ")} ${text("page.or")} ${shown.at(-1)}`;
}

export function number(value, digits = 0) {
  return value.toLocaleString(LOCALES[language], { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

/** A difference with its sign and two digits: "+0.04". */
export function signed(value) {
  const shown = number(value, 2);
  return Number(value.toFixed(2)) === 0 ? number(0, 2) : value > 0 ? `+${shown}` : shown;
}

/** 0.934 → "93 %"; never "100 %" or "0 %": floating point rounds some probabilities to 0 and 1. */
export function percent(share) {
  const value = share * 100;
  if (value < 0.1) return `< ${withSign(0.1, 1)}`;
  if (value > 99.9) return `> ${withSign(99.9, 1)}`;
  const digits = value < 10 || value > 99 ? 1 : 0;
  return withSign(value, Number.isInteger(Number(value.toFixed(digits))) ? 0 : digits);
}

/** 0.9117 → "91.17 %". */
export function exactPercent(share, digits = 2) {
  return withSign(100 * share, digits);
}

/** A number with the sign of per cent, as the language writes it. */
function withSign(value, digits) {
  return `${number(value, digits)}${language === "pt" ? "" : "\u00a0"}%`;
}

/** The text of the page's language among those of a model file, if it has one. */
export function inLanguage(translations) {
  return translations[language];
}

export function date(iso) {
  return new Date(iso).toLocaleDateString(LOCALES[language], { dateStyle: "long" });
}
