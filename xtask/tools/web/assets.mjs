// Makes the assets of the portal: the part of Bootstrap Italia that its pages use, its fonts, its icons.
//
//   node assets.mjs <directory with node_modules> <services/front-office> <output directory>
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, service, output] = process.argv.slice(2);
const require = createRequire(join(modules, "package.json"));
const { PurgeCSS } = require("purgecss");
const { transform } = require("lightningcss");

const kit = join(modules, "node_modules/bootstrap-italia");
const templates = join(service, "templates");
const pages = readdirSync(templates).sort().map((file) => readFileSync(join(templates, file), "utf8"));

// No script runs on the pages, so what they name is all that is ever used.
const [purged] = await new PurgeCSS().purge({
  content: pages.map((raw) => ({ raw, extension: "html" })),
  css: [{ raw: readFileSync(join(kit, "dist/css/bootstrap-italia.min.css"), "utf8") }],
  // Words of a page, not parts of them: templates hold Italian sentences too.
  extractors: [{
    extensions: ["html"],
    extractor: (html) => [
      ...[...html.matchAll(/<([a-z][a-z0-9]*)/g)].map(([, tag]) => tag),
      ...[...html.matchAll(/class="([^"]*)"/g)].flatMap(([, names]) => names.split(/\s+/)),
      ...[...html.matchAll(/\s([a-z-]+)="([^"{]*)"/g)].flatMap(([, name, value]) => [name, ...value.split(/\s+/)]),
    ],
  }],
  fontFace: true,
  keyframes: true,
  variables: true,
});

const own = readFileSync(join(service, "style/portal.css"), "utf8");
const { code } = transform({
  filename: "style.css",
  code: Buffer.from(`${purged.css}\n${own}`),
  minify: true,
  errorRecovery: true,
  targets: { chrome: 90 << 16, firefox: 90 << 16, safari: 14 << 16 },
});
const licence = "/*! Bootstrap Italia 2.18.3, BSD-3-Clause; Titillium Web, OFL-1.1: see LICENSES.txt */\n";
writeFileSync(join(output, "style.css"), licence + code.toString() + "\n");

const fonts = join(kit, "dist/fonts/Titillium_Web");
for (const [, font] of own.matchAll(/url\("([^"]+\.woff2)"\)/g)) writeFileSync(join(output, font), readFileSync(join(fonts, font)));

const sprites = readFileSync(join(kit, "dist/svg/sprites.svg"), "utf8");
const named = [...new Set(pages.flatMap((html) => [...html.matchAll(/#(it-[a-z-]+)"/g)].map(([, name]) => name)))].sort();
const symbols = named.map((name) => {
  const [symbol] = sprites.match(new RegExp(`<symbol[^>]*id="${name}"[^>]*>.*?</symbol>`, "s")) ?? [];
  if (!symbol) throw new Error(`Bootstrap Italia has no icon ${name}`);
  return symbol;
});
writeFileSync(join(output, "icons.svg"), `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`);
writeFileSync(join(output, "favicon.svg"), readFileSync(join(service, "style/favicon.svg")));

const texts = [["Bootstrap Italia", join(kit, "LICENSE")], ["Titillium Web", join(fonts, "OFL.txt")]];
const licences = texts.map(([name, file]) => `${name}\n\n${readFileSync(file, "utf8").replaceAll("\r\n", "\n").trim()}\n`);
writeFileSync(join(output, "LICENSES.txt"), licences.join("\n\n"));
