import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { describe, expect, it } from "vitest";

import { weigh } from "../tools/budget.ts";
import { notice, notices, packageFolder } from "../tools/notices.ts";

const MODULES = join(import.meta.dirname, "..", "node_modules");

describe("the bundle's weight", () => {
  const chunk = (fileName: string, code: string, imports: string[] = [], isEntry = false) => ({
    fileName,
    code,
    imports,
    isEntry,
  });
  const size = (code: string) => gzipSync(code).length;

  it("counts for the first view what the entry imports at once, each chunk once, and lazy views only in all", () => {
    const chunks = [
      chunk("entry.js", "entry()", ["shared.js", "react.js"], true),
      chunk("shared.js", "shared()".repeat(9), ["react.js"]),
      chunk("react.js", "react()".repeat(50)),
      chunk("ledger.js", "ledger()".repeat(20), ["shared.js"]),
    ];
    const first = size("entry()") + size("shared()".repeat(9)) + size("react()".repeat(50));
    expect(weigh(chunks)).toEqual({ first, all: first + size("ledger()".repeat(20)) });
  });
});

describe("notices of what is shipped", () => {
  it("finds the package of a module, scoped or nested, and leaves our own code out", () => {
    expect(packageFolder("/a/node_modules/@radix-ui/react-slot/dist/index.mjs")).toBe(
      "/a/node_modules/@radix-ui/react-slot",
    );
    expect(packageFolder("/a/node_modules/x/node_modules/tslib/tslib.es6.mjs?v=1")).toBe(
      "/a/node_modules/x/node_modules/tslib",
    );
    expect(packageFolder("/a/src/app.tsx")).toBeNull();
  });

  it("tells each package's licence once, and the text that several share once", () => {
    const text = notices(["react", "react-dom", "react"].map((name) => join(MODULES, name)));
    expect(text.match(/^react [\d.]+ \(MIT\)$/gm)).toHaveLength(1);
    expect(text.match(/Copyright \(c\) Meta Platforms/g)).toHaveLength(1);
  });

  it("names the author where a package states a licence and holds no text of it", () => {
    const { text } = notice(join(MODULES, "react-remove-scroll-bar"));
    expect(text).toContain("Copyright (c) Anton Korzunov");
    expect(text).toContain("Permission is hereby granted");
  });
});
