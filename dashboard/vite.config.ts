import react from "@vitejs/plugin-react";
import { defineConfig, type ProxyOptions } from "vite";

import { budget } from "./tools/budget.ts";
import { compressed } from "./tools/compressed.ts";
import { shippedNotices } from "./tools/notices.ts";

const api = process.env.FEDPRIV_API_URL ?? "http://127.0.0.1:8000";

/** The page knows the API only as `/api` on its own origin; here, as behind the CDN, the prefix is taken off. */
const proxy: Record<string, ProxyOptions> = {
  "/api": {
    target: api,
    changeOrigin: true,
    rewrite: (path) => path.replace(/^\/api/, ""),
    configure: (server) => {
      server.on("error", (_error, _request, response) => {
        if (!("writeHead" in response)) return;
        if (response.headersSent) {
          response.end();
          return;
        }
        response.writeHead(502, { "content-type": "application/problem+json" });
        response.end(
          JSON.stringify({ title: "Bad gateway", status: 502, detail: `No metrics API answers at ${api}.` }),
        );
      });
    },
  },
};

// What a closed network needs and no more: nothing is fetched from elsewhere. Radix injects two style elements; a
// picture that is saved is drawn from a blob of the page's own.
const headers = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' blob:; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

export default defineConfig({
  base: "./",
  plugins: [react(), budget({ first: 160, all: 250 }), shippedNotices(), compressed()],
  server: { host: "127.0.0.1", port: 3000, strictPort: true, proxy },
  preview: { host: "127.0.0.1", port: 3000, strictPort: true, proxy, headers },
  build: { target: "es2023", assetsInlineLimit: 0 },
});
