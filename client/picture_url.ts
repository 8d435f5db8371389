/**
 * Addresses of Copperplate's pictures. Runs in browsers, Node 20 and later, Deno and edge functions, without dependencies:
 *
 *     const fox = { base: "https://pictures.example.com", text: "a red fox", width: 1024, height: 768 };
 *     pictureUrl(fox, { format: "webp", w: 300 }); // …/1024x768.webp?text=a%20red%20fox&w=384
 *
 * `width` and `height` are those of the canvas, which is made and paid for once. Display parameters choose a rendition
 * of it and cost nothing. The server takes widths and qualities up to a rung; so does this file, so that browsers and
 * CDNs store one address of one rendition.
 */

/** `auto` is WebP, AVIF or JPEG by the browser's `Accept` header; shared caches do not store it. */
export type Format = "jpg" | "png" | "webp" | "avif" | "auto";

/** What is made and paid for. Another value of any of these but `base` and `access` is another picture. */
export interface Picture {
  readonly text: string;
  /** Sides of the canvas in px, 64 to 2048. */
  readonly width: number;
  readonly height: number;
  /** The server's default model unless given. */
  readonly model?: string;
  /** A whole number below 2^64; a `bigint` or digits above 2^53. */
  readonly seed?: number | bigint | string;
  /** Scheme and host of the server; none gives addresses below the page's own host. */
  readonly base?: string;
  /** A signature as `sign()` of sign.ts answers it, or `key=cp_…` with a visible API key. */
  readonly access?: string;
}

/** Which rendition of it: everything here is free, and outside signatures. */
export interface Display {
  /** `jpg` unless given. */
  readonly format?: Format;
  /** A width in px; the height follows the canvas. */
  readonly w?: number;
  /** A height in px beside `w`: the asked ratio is kept. */
  readonly h?: number;
  /** Beside `h`: `cover` cuts the middle out, `contain` shows the whole picture. `cover` unless given. */
  readonly fit?: "cover" | "contain";
  /** A quality from 1 to 100; 85 unless given. A png has none. */
  readonly q?: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The widths in px that renditions have: smaller ones go up to the next of them, none above the canvas. */
export const WIDTHS: readonly number[] = [16, 32, 48, 64, 96, 128, 256, 384, 640, 750, 828, 1080, 1200, 1920, 2048];
export const QUALITIES: readonly number[] = [40, 60, 75, 85, 95];
export const DEFAULT_QUALITY = 85;
const [MIN_SIDE_PX, MAX_SIDE_PX, MAX_DISPLAY_SIDE_PX, MAX_QUALITY] = [64, 2_048, 99_999, 100];

/** The address of a rendition. Throws `RangeError` for a number that the server would refuse. */
export function pictureUrl(picture: Picture, display: Display = {}): string {
  const format = display.format ?? "jpg";
  const parts = [...queryOf(picture), ...displayOf(picture, display, format), ...accessOf(picture)];
  return `${addressOf(picture)}.${format}?${parts.join("&")}`;
}

/**
 * The address of a tiny picture (32 px at most) to show until the picture is there; 404 while it is not stored.
 *
 * It never makes a picture. Webp, because that is the smallest.
 */
export function placeholderUrl(picture: Picture): string {
  return `${addressOf(picture)}.webp?${[...queryOf(picture), "placeholder", ...accessOf(picture)].join("&")}`;
}

/** The size in px of the rendition that the server answers with. Throws `RangeError` as `pictureUrl` does. */
export function renditionSize(canvas: Size, display: Pick<Display, "w" | "h" | "fit"> = {}): Size {
  checkCanvas(canvas);
  const { w, h, fit } = checkedDisplay(display);
  if (w === undefined) return { width: canvas.width, height: canvas.height };
  // Fractions of whole numbers: each product stays below 2^53, so nothing is rounded but the sides at the end.
  let [width, one] = [widthRung(w), 1];
  let [across, down] = [canvas.width, canvas.height];
  if (h !== undefined && fit === "contain") {
    const [inside, of] = [width * h * across, w * down];
    if (inside < width * of) [width, one] = [inside, of];
  } else if (h !== undefined) {
    [across, down] = [w, h];
    if (canvas.height * w < width * h) [width, one] = [canvas.height * w, h];
  }
  if (canvas.width * one < width) [width, one] = [canvas.width, 1];
  return { width: rounded(width, one), height: Math.min(rounded(width * down, one * across), canvas.height) };
}

/** The next rung at or above a width in px; the highest above it. */
export function widthRung(width: number): number {
  return WIDTHS.find((rung) => rung >= width) ?? MAX_SIDE_PX;
}

/** The next rung at or above a quality; the highest above it. */
export function qualityRung(quality: number): number {
  return QUALITIES.find((rung) => rung >= quality) ?? 95;
}

function addressOf({ base = "", width, height }: Picture): string {
  checkCanvas({ width, height });
  return `${base.replace(/\/+$/, "")}/${width}x${height}`;
}

function queryOf({ text, model = "", seed = "" }: Picture): string[] {
  const named = Object.entries({ text, model, seed: seedOf(seed) });
  return named.flatMap(([name, value]) => (value === "" && name !== "text" ? [] : [`${name}=${encoded(value)}`]));
}

function displayOf(canvas: Size, display: Display, format: Format): string[] {
  const { w, h, fit, q } = checkedDisplay(display);
  const parts: string[] = [];
  // A rung above the canvas is the canvas. Beside `h`, `w` is half of a ratio and stays as it is.
  if (w !== undefined) parts.push(`w=${h === undefined ? Math.min(widthRung(w), canvas.width) : w}`);
  if (h !== undefined) parts.push(`h=${h}`);
  if (h !== undefined && fit === "contain") parts.push("fit=contain");
  if (q !== undefined && format !== "png" && qualityRung(q) !== DEFAULT_QUALITY) parts.push(`q=${qualityRung(q)}`);
  return parts;
}

function accessOf({ access = "" }: Picture): string[] {
  return access === "" ? [] : [access];
}

function seedOf(seed: number | bigint | string): string {
  if (typeof seed === "number" && !Number.isSafeInteger(seed)) throw new RangeError("A seed above 2^53 is a bigint.");
  return String(seed);
}

function checkCanvas(canvas: Size): void {
  const isOffered = (side: number) => Number.isInteger(side) && side >= MIN_SIDE_PX && side <= MAX_SIDE_PX;
  if (!isOffered(canvas.width) || !isOffered(canvas.height)) {
    throw new RangeError(`The sides of a canvas are ${MIN_SIDE_PX} to ${MAX_SIDE_PX} whole pixels.`);
  }
}

function checkedDisplay(display: Display): Display {
  for (const [name, most] of Object.entries({ w: MAX_DISPLAY_SIDE_PX, h: MAX_DISPLAY_SIDE_PX, q: MAX_QUALITY })) {
    const value = display[name as "w" | "h" | "q"];
    if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= most)) {
      throw new RangeError(`${name} is a whole number from 1 to ${most}.`);
    }
  }
  if (display.h !== undefined && display.w === undefined) throw new RangeError("h goes with w.");
  return display;
}

/** To the nearest whole px, halves up; at least one. */
function rounded(length: number, of: number): number {
  return Math.max(1, Math.floor((2 * length + of) / (2 * of)));
}

/** Nothing is left that HTML, a `srcset` or CSS would read. */
function encoded(value: string): string {
  return encodeURIComponent(value).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}
