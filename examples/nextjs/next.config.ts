import path from "node:path";
import type { NextConfig } from "next";

const config: NextConfig = {
  // Any server of files shows this page. An app with a server of its own leaves the line out.
  output: "export",
  images: {
    // The browser asks Copperplate itself: no optimizer of Next.js, which gives up after seven seconds.
    loader: "custom",
    loaderFile: "../../client/next_loader.ts",
    // The widths that renditions have, up to the widest canvas of the page.
    imageSizes: [16, 32, 48, 64, 96, 128, 256, 384],
    deviceSizes: [640, 750, 828, 1080],
  },
  // The builders lie outside of this folder. Copied into it, they need neither this line nor `paths` in tsconfig.json.
  turbopack: { root: path.join(import.meta.dirname, "../..") },
};

export default config;
