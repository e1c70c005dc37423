/**
 * A chart as a file that stands by itself: the drawing as the page shows it now, with its title, what it is of, when
 * it was made, and the font inside.
 */
import { saveFile } from "../ui/save-file";
import { fileName, wrapped, type Caption, type Format } from "./caption";
import { textWidth } from "./text-width";

const SVG = "http://www.w3.org/2000/svg";
const PAD = 20;
const LINE = 18;
/** Pixels of a PNG for one of the page's: sharp in print. */
const SCALE = 2;
/** What a drawing takes from the page's style sheets; everything else of an element is in its attributes. */
const STYLES = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-linecap",
  "stroke-linejoin",
  "stop-color",
  "stop-opacity",
  "opacity",
  "paint-order",
  "shape-rendering",
  "font-family",
  "font-size",
  "font-weight",
  "text-anchor",
] as const;

/** Save `drawing` as a file; resolves with its name. */
export async function save(drawing: SVGSVGElement, caption: Caption, format: Format): Promise<string> {
  const picture = composed(drawing, caption);
  const style = picture.insertBefore(document.createElementNS(SVG, "style"), picture.firstChild);
  style.textContent = await fontFaces();
  const text = new XMLSerializer().serializeToString(picture);
  const blob = new Blob([text], { type: "image/svg+xml" });
  const name = fileName(caption, format);
  saveFile(name, format === "svg" ? blob : await rastered(blob, picture));
  return name;
}

function composed(drawing: SVGSVGElement, caption: Caption): SVGSVGElement {
  const page = getComputedStyle(drawing);
  const colour = (name: string) => resolved(drawing, `var(${name})`);
  const { width: inner, height } = drawing.getBoundingClientRect();
  const width = inner + 2 * PAD;
  const notes = wrapped(caption.note, inner, (text) => textWidth(text, "note") * 1.05);
  const head = PAD + LINE * (notes.length + 1) + 8;
  const picture = element("svg", {
    xmlns: SVG,
    width,
    height: head + height + LINE + PAD,
    viewBox: `0 0 ${width} ${head + height + LINE + PAD}`,
    "font-family": page.fontFamily,
    role: "img",
    "aria-label": `${caption.title}. ${caption.note}`,
  });
  const write = (text: string, y: number, size: number, weight: number, fill: string) => {
    const line = element("text", { x: PAD, y, "font-size": size, "font-weight": weight, fill });
    line.textContent = text;
    picture.append(line);
  };
  const title = document.createElementNS(SVG, "title");
  title.textContent = caption.title;
  picture.append(title, element("rect", { width: "100%", height: "100%", fill: colour("--surface") }));
  write(caption.title, PAD + 13, 14, 600, colour("--text"));
  for (const [index, note] of notes.entries()) {
    write(note, PAD + 13 + LINE * (index + 1), 12, 400, colour("--muted"));
  }
  const copy = element("g", { transform: `translate(${PAD} ${head})` });
  copy.append(...[...drawing.children].map((child) => styled(child)));
  picture.append(copy);
  const made = `${caption.at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  write(`${caption.source}, ${made}`, head + height + LINE, 11, 400, colour("--muted"));
  return picture;
}

/** A copy of an element that looks the same without the page's style sheets. */
function styled(original: Element): Element {
  const copy = original.cloneNode(false) as Element;
  const style = getComputedStyle(original);
  for (const name of STYLES) copy.setAttribute(name, style.getPropertyValue(name));
  copy.removeAttribute("class");
  for (const child of original.childNodes) {
    copy.append(child instanceof Element ? styled(child) : child.cloneNode());
  }
  return copy;
}

/** A colour of the current theme as its computed value. */
function resolved(drawing: SVGSVGElement, colour: string): string {
  const probe = element("path", {});
  probe.style.fill = colour;
  drawing.append(probe);
  const value = getComputedStyle(probe).fill;
  probe.remove();
  return value;
}

function element<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Record<string, string | number>,
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** The page's own font faces with their files inside. */
async function fontFaces(): Promise<string> {
  const rules = [...document.styleSheets]
    .flatMap((sheet) => [...sheet.cssRules].map((rule) => ({ rule, base: sheet.href ?? document.baseURI })))
    .filter(({ rule }) => rule instanceof CSSFontFaceRule && rule.cssText.includes("url("));
  const faces = rules.map(async ({ rule, base }) => {
    const [, file = ""] = /url\("?([^")]+)"?\)/.exec(rule.cssText) ?? [];
    const response = await fetch(new URL(file, base));
    if (!response.ok) throw new Error(`The font did not come (${response.status}).`);
    return rule.cssText.replace(file, await dataUrl(await response.blob()));
  });
  return (await Promise.all(faces)).join("\n");
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => {
      resolve(reader.result as string);
    };
    reader.onerror = () => {
      reject(reader.error ?? new Error("The font could not be read."));
    };
    reader.readAsDataURL(blob);
  });
}

async function rastered(blob: Blob, picture: SVGSVGElement): Promise<Blob> {
  const address = URL.createObjectURL(blob);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = SCALE * Number(picture.getAttribute("width"));
    canvas.height = SCALE * Number(picture.getAttribute("height"));
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((made) => {
        if (made) resolve(made);
        else reject(new Error("The browser made no picture."));
      });
    });
  } finally {
    URL.revokeObjectURL(address);
  }
}
