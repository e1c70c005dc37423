/** Compresses what is built, once and as well as gzip can, so that no server has to: nginx sends the `.gz` files by
 * `gzip_static`, and so does the preview that the demo and the tests show the page with. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";

import type { Plugin } from "vite";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};
/** Below this a packet is a packet. */
const LEAST_BYTES = 1000;

/** Writes `name.gz` beside every text file below `folder` that is worth it. */
export function compress(folder: string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const file = join(folder, name);
    if (!(extname(name) in TYPES)) continue;
    const body = readFileSync(file);
    if (body.length >= LEAST_BYTES) writeFileSync(`${file}.gz`, gzipSync(body, { level: 9 }));
  }
}

export function compressed(): Plugin {
  let folder = "";
  return {
    name: "fedpriv:compressed",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    closeBundle: {
      order: "post",
      handler() {
        if (existsSync(folder)) compress(folder);
      },
    },
    configurePreviewServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = (request.url ?? "/").replace(/[?#].*$/, "");
        const type = TYPES[extname(path)];
        const accepted = /\bgzip\b/.test(request.headers["accept-encoding"]?.toString() ?? "");
        if (path.startsWith("/assets/")) {
          response.setHeader("cache-control", "public, max-age=31536000, immutable");
        }
        if (type && accepted && !path.includes("..") && existsSync(join(folder, `${path}.gz`))) {
          response.setHeader("content-type", type);
          response.setHeader("content-encoding", "gzip");
          response.setHeader("vary", "accept-encoding");
          request.url = `${path}.gz`;
        }
        next();
      });
    },
  };
}
