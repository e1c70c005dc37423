/** Labels beside points of a plane: where they touch nothing, and not at all where they would. */

export interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Wanted {
  x: number;
  y: number;
  width: number;
}

export interface Beside {
  /** Left edge and middle of the text. */
  x: number;
  y: number;
}

const HEIGHT = 15;
const GAP = 9;

/** Places for labels in the order of their importance; null for one that finds none. */
export function beside(labels: readonly Wanted[], taken: readonly Box[], bounds: Box): (Beside | null)[] {
  const occupied = [...taken];
  return labels.map(({ x, y, width }) => {
    const middle = x - width / 2;
    const places: Beside[] = [
      { x: middle, y: y - GAP - HEIGHT / 2 },
      { x: middle, y: y + GAP + HEIGHT / 2 },
      { x: x + GAP, y },
      { x: x - GAP - width, y },
      { x: x + GAP - 2, y: y - GAP - 3 },
      { x: x - GAP + 2 - width, y: y - GAP - 3 },
      { x: x - 2, y: y + GAP + HEIGHT / 2 },
      { x: x + 2 - width, y: y + GAP + HEIGHT / 2 },
    ];
    for (const place of places) {
      const box = {
        left: place.x - 2,
        right: place.x + width + 2,
        top: place.y - HEIGHT / 2,
        bottom: place.y + HEIGHT / 2,
      };
      const inside =
        box.left >= bounds.left &&
        box.right <= bounds.right &&
        box.top >= bounds.top &&
        box.bottom <= bounds.bottom;
      if (!inside || occupied.some((other) => touch(box, other))) continue;
      occupied.push(box);
      return place;
    }
    return null;
  });
}

export function touch(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** What a point's own mark takes up. */
export function boxOf(x: number, y: number, radius = 6): Box {
  return { left: x - radius, right: x + radius, top: y - radius, bottom: y + radius };
}
