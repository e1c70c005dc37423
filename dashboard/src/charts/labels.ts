/** Labels at line ends instead of a legend, moved apart where they would touch. */

export interface Label {
  /** Where its line ends: labels keep the order of their lines. */
  anchor: number;
  /** Where the label's middle should be. */
  y: number;
  height: number;
  /** Its top edge may not be above this. */
  floor?: number;
}

/** Labels that touch: `members` from top to bottom, `start` the top edge that suits them best together. */
interface Block {
  members: number[];
  start: number;
  floor: number;
  height: number;
}

/**
 * Middles of labels that do not overlap, within [low, high], each as near as may be to where it belongs (least
 * squares over labels that touch).
 */
export function spread(labels: readonly Label[], low: number, high: number): number[] {
  const top = (block: Block) => Math.max(low, block.floor, Math.min(block.start, high - block.height));
  const blocks: Block[] = [];
  for (const [index, { y, height, floor = low }] of [...labels.entries()].sort(
    ([, a], [, b]) => a.anchor - b.anchor,
  )) {
    let block: Block = { members: [index], start: y - height / 2, floor, height };
    for (let above = blocks.at(-1); above && top(above) + above.height > top(block); above = blocks.at(-1)) {
      blocks.pop();
      block = join(above, block);
    }
    blocks.push(block);
  }
  const middles: number[] = [];
  for (const block of blocks) {
    let edge = top(block);
    for (const index of block.members) {
      const height = labels[index]?.height ?? 0;
      middles[index] = edge + height / 2;
      edge += height;
    }
  }
  return middles;
}

function join(a: Block, b: Block): Block {
  const members = [...a.members, ...b.members];
  const start = (a.start * a.members.length + (b.start - a.height) * b.members.length) / members.length;
  return { members, start, floor: Math.max(a.floor, b.floor - a.height), height: a.height + b.height };
}
