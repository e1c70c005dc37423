/** Fails the build when the page's JavaScript has grown past what a first view, or a view opened later, may cost. */
import { gzipSync } from "node:zlib";

import type { Plugin } from "vite";

export interface Budget {
  /** What is loaded before the first view shows: the entry and everything it imports at once. kB, gzip. */
  first: number;
  /** The entry with everything that is only loaded for a view opened later. kB, gzip. */
  all: number;
}

/** What of a bundle's chunk counts here; rolldown's own chunks are of this shape. */
export interface Chunk {
  fileName: string;
  code: string;
  isEntry: boolean;
  imports: string[];
}

/** Bytes on the wire of the chunks of a first view, and of all chunks. */
export function weigh(chunks: readonly Chunk[]): { first: number; all: number } {
  const byName = new Map(chunks.map((chunk) => [chunk.fileName, chunk]));
  const first = new Set<Chunk>();
  const follow = (chunk: Chunk | undefined) => {
    if (!chunk || first.has(chunk)) return;
    first.add(chunk);
    for (const name of chunk.imports) follow(byName.get(name));
  };
  for (const chunk of chunks) if (chunk.isEntry) follow(chunk);
  const size = (some: Iterable<Chunk>) =>
    [...some].reduce((sum, chunk) => sum + gzipSync(chunk.code).length, 0);
  return { first: size(first), all: size(chunks) };
}

export function budget(limits: Budget): Plugin {
  return {
    name: "fedpriv:budget",
    apply: "build",
    writeBundle(_options, bundle) {
      const { first, all } = weigh(Object.values(bundle).filter((part) => part.type === "chunk"));
      const kilobytes = (bytes: number) => (bytes / 1000).toFixed(1);
      const words = `JavaScript: first view ${kilobytes(first)} of ${limits.first} kB gzip, all views ${kilobytes(all)} of ${limits.all} kB`;
      if (first > 1000 * limits.first || all > 1000 * limits.all) {
        this.error(`${words}. Load what the first view does not show lazily, or do without a dependency.`);
      }
      this.info(words);
    },
  };
}
