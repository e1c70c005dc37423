/**
 * Lighthouse over addresses: `node run.mjs FOLDER LEAST ADDRESS…` writes a report of each to FOLDER and exits with 1
 * when any category of any page scores less than LEAST. CHROME_PATH names the browser.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { launch } from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";

const [folder, least, ...addresses] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const chrome = await launch({
  chromeFlags: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
  ],
});
let failed = false;
try {
  for (const address of addresses) {
    const { lhr } = await lighthouse(address, { port: chrome.port, output: "json" }, desktopConfig);
    const page = new URL(address).pathname.slice(1) || "run";
    writeFileSync(join(folder, `${page}.json`), JSON.stringify(lhr, null, 1));
    const scores = Object.values(lhr.categories).map(({ title, score }) => [
      title,
      Math.round(100 * (score ?? 0)),
    ]);
    console.log(page.padEnd(12), scores.map(([title, score]) => `${title} ${score}`).join(", "));
    for (const { auditRefs, title, score } of Object.values(lhr.categories)) {
      if (100 * (score ?? 0) >= Number(least)) continue;
      failed = true;
      const missing = auditRefs
        .map(({ id }) => lhr.audits[id])
        .filter((audit) => audit.score !== null && audit.score < 0.9);
      for (const audit of missing) console.log(`  ${title}: ${audit.title} ${audit.displayValue ?? ""}`);
    }
  }
} finally {
  chrome.kill();
}
process.exit(failed ? 1 : 0);
