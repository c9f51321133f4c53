// Looks at pages in Chromium and prints what is wrong with them: {"pages": <count>, "problems": [..]}.
//
//   node pages.mjs <directory with node_modules> <chromium> <{"pages": [{"name", "url"}], "way": {"home", "number", "doubtful"}}>
//
// With FIORINO_TEST_SCREENSHOTS, a directory, each page is kept there as a picture in two widths.
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, executablePath, input] = process.argv.slice(2);
const require = createRequire(join(modules, "package.json"));
const { chromium } = require("playwright-core");
const { AxeBuilder } = require("@axe-core/playwright");
const { pages, way } = JSON.parse(input);
const pictures = process.env.FIORINO_TEST_SCREENSHOTS;
const problems = [];
const complain = (name, text) => problems.push(`${name}: ${text}`);

// A page that is watched while it is open: nothing from elsewhere, nothing that is missing, nothing that the policy refuses.
async function open(context, name, url) {
  const page = await context.newPage();
  const origin = new URL(url).origin;
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) complain(name, `asks elsewhere: ${request.url()}`);
  });
  page.on("response", (response) => {
    const own = response.request().isNavigationRequest();
    if (!own && response.status() >= 400) complain(name, `${response.url()} is ${response.status()}`);
  });
  page.on("console", (message) => {
    if (/content security policy|refused/i.test(message.text())) complain(name, message.text());
  });
  page.on("pageerror", (error) => complain(name, error.message));
  await page.goto(url, { waitUntil: "load" });
  return page;
}

async function axe(context, { name, url }) {
  const page = await open(context, name, url);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];
  const { violations, passes } = await new AxeBuilder({ page }).withTags(tags).analyze();
  for (const { id, help, nodes } of violations) {
    complain(name, `axe ${id}: ${help}: ${nodes.map((node) => `${node.html} (${node.failureSummary})`).join(" | ")}`);
  }
  if (passes.length < 10) complain(name, `axe found only ${passes.length} rules to check`);
  const font = await page.evaluate(() => document.fonts.ready.then(() => document.fonts.check('16px "Titillium Web"')));
  if (!font) complain(name, "the font was not loaded");
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  await page.close();
}

// Tab after tab: what can be used is reached in the order of the page, first of all the way past the header, and is seen to be.
async function keyboard(context, { name, url }) {
  const page = await open(context, name, url);
  const expected = await page.evaluate(() => {
    const controls = [...document.querySelectorAll("a[href], button, input")];
    controls.forEach((control, at) => control.setAttribute("data-at", at));
    return controls.length;
  });
  for (let at = 0; at < expected; at += 1) {
    await page.keyboard.press("Tab");
    const { reached, seen } = await page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const { width, height } = element.getBoundingClientRect();
      const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
      return { reached: element.getAttribute("data-at"), seen: outlined && width > 1 && height > 1 };
    });
    if (reached !== String(at)) return complain(name, `tab ${at + 1} reaches ${reached} instead of ${at}`);
    if (!seen) complain(name, `one does not see that control ${at} has the focus`);
  }
  await page.close();
}

async function narrow(context, { name, url }) {
  const page = await open(context, name, url);
  const { scrolls, beyond } = await page.evaluate(() => ({
    scrolls: document.documentElement.scrollWidth,
    beyond: [...document.querySelectorAll("body *")]
      .filter((element) => element.getBoundingClientRect().right > 320.5)
      .map((element) => element.outerHTML.slice(0, 80)),
  }));
  if (scrolls > 320) complain(name, `is ${scrolls} pixels wide at 320: ${beyond.join(" | ")}`);
  const bursting = await page.evaluate(() => [...document.querySelectorAll("main *")]
    .filter((element) => getComputedStyle(element).display !== "inline" && element.scrollWidth > element.clientWidth + 1)
    .filter((element) => element.clientWidth > 0).map((element) => element.outerHTML.slice(0, 80)));
  for (const element of bursting) complain(name, `holds more than fits at 320: ${element}`);
  const small = await page.evaluate(() => [...document.querySelectorAll("button, input")]
    .filter((control) => control.getBoundingClientRect().height < 40).map((control) => control.outerHTML));
  for (const control of small) complain(name, `is too small for a finger: ${control}`);
  if (pictures) await page.screenshot({ path: join(pictures, `${name}-320.png`), fullPage: true });
  await page.close();
}

// From the home to a debt with the keyboard alone and no script.
async function wholeWay(context, { home, number, doubtful }) {
  const page = await open(context, "way", home);
  await page.locator("#codice").fill(doubtful);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "È giusto, continua" }).click();
  await page.getByText("Nessun avviso con questi codici").waitFor();
  if ((await page.locator("#codice").inputValue()) !== doubtful) complain("way", "what was written is lost");
  await page.locator("#codice").fill(number);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Dove puoi pagarlo" }).waitFor();
  await page.getByRole("link", { name: "Aggiorna" }).click();
  await page.getByRole("heading", { name: "Avviso di pagamento" }).waitFor();
  if ((await context.cookies()).length > 0) complain("way", "there is a cookie");
  await page.close();
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const wide = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "it-IT" });
  const small = await browser.newContext({ viewport: { width: 320, height: 800 }, locale: "it-IT" });
  const plain = await browser.newContext({ javaScriptEnabled: false, locale: "it-IT" });
  plain.setDefaultTimeout(20_000);
  for (const page of pages) {
    await axe(wide, page);
    await keyboard(wide, page);
    await narrow(small, page);
  }
  if (way) await wholeWay(plain, way);
} finally {
  await browser.close();
}
console.log(JSON.stringify({ pages: pages.length, problems }));
