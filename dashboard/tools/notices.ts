/** Writes `licences.txt` beside the page: who made what is in it, and the notice that each licence asks to be kept. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";

import type { Plugin } from "vite";

interface Manifest {
  name: string;
  version: string;
  license?: string;
  author?: string | { name: string };
}

/** The folder of the npm package that a module or a file belongs to, or null for our own. */
export function packageFolder(id: string): string | null {
  const path = id.replace(/^\0/, "").replace(/[?#].*$/, "");
  const parts = path.split("/");
  const at = parts.lastIndexOf("node_modules");
  if (at < 0) return null;
  const length = parts[at + 1]?.startsWith("@") ? 3 : 2;
  return parts.slice(0, at + length).join(sep);
}

/** The licence that a package names without holding its text, with its author in the place that it leaves. */
const MIT = (author: string) => `MIT License

Copyright (c) ${author}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/** One package's entry; throws where its licence cannot be told, because then nothing of it may be shipped. */
export function notice(folder: string): { title: string; text: string } {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const { name, version, license, author } = manifest;
  const title = `${name} ${version} (${license ?? "see below"})`;
  const file = readdirSync(folder).find((entry) => /^licen[cs]e(\.\w+)?$/i.test(entry));
  if (file) {
    // A bundler's own file goes on with what it was built of, none of which it puts into a page.
    const text = readFileSync(join(folder, file), "utf8").split(/^#+ Licenses of bundled dependencies/m)[0];
    return { title, text: (text ?? "").trim() };
  }
  const by = typeof author === "string" ? author : author?.name;
  if (license !== "MIT" || !by)
    throw new Error(`${name} ${version} holds no licence text, and it is not MIT.`);
  return { title, text: MIT(by) };
}

/** The whole file: packages of the same text share it. */
export function notices(folders: Iterable<string>): string {
  const titles = new Map<string, Set<string>>();
  for (const { title, text } of [...new Set(folders)].toSorted().map(notice)) {
    titles.set(text, (titles.get(text) ?? new Set()).add(title));
  }
  const rule = "-".repeat(80);
  const entries = [...titles].map(([text, names]) => `${rule}\n${[...names].join("\n")}\n\n${text}\n`);
  return `This page holds the following packages, as their licences ask to be told.\n\n${entries.join("\n")}`;
}

export function shippedNotices(): Plugin {
  return {
    name: "fedpriv:notices",
    apply: "build",
    generateBundle(_options, bundle) {
      const ids = Object.values(bundle).flatMap((part) =>
        part.type === "chunk"
          ? part.moduleIds
          : part.originalFileNames.map((name) => join(import.meta.dirname, "..", name)),
      );
      // Styles take packages in by @import, and the bundler adds a few lines of its own to load what is lazy.
      const vite = join(import.meta.dirname, "..", "node_modules", "vite");
      const folders = [...ids.flatMap((id) => packageFolder(id) ?? []), vite].filter((folder) =>
        existsSync(join(folder, "package.json")),
      );
      this.emitFile({ type: "asset", fileName: "licences.txt", source: notices(folders) });
    },
  };
}
