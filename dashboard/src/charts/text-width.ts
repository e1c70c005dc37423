/** Widths of a chart's text in pixels, measured as the page will draw it. */

const FONTS = {
  axis: '400 11.5px "Inter Variable", sans-serif',
  label: '600 12px "Inter Variable", sans-serif',
  note: '400 11.5px "Inter Variable", sans-serif',
} as const;

const context = document.createElement("canvas").getContext("2d");

export function textWidth(text: string, font: keyof typeof FONTS): number {
  if (!context) return 7 * text.length;
  context.font = FONTS[font];
  return context.measureText(text).width;
}
