import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** The server that the page of `npm run dev` talks to. */
const server = process.env.SERVER_URL ?? "http://127.0.0.1:8000";

/** What that server answers itself: what the page asks, opens and frames, and what those pages load. */
const SERVED = ["/api", "/ws", "/login", "/logout", "/password", "/language", "/about", "/picture", "/admin", "^/static/(?!app/)"];

export default defineConfig({
  base: "/static/app/",
  plugins: [react()],
  build: {
    outDir: "../chat/static/app",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    // Everything of the page in files of its own: its policy lets no data: script or style in.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: { input: "src/main.tsx" },
  },
  server: {
    // The page's own server sees its own Origin, as it would without this proxy.
    proxy: Object.fromEntries(
      SERVED.map((path) => [
        path,
        { target: server, changeOrigin: true, ws: path === "/ws", headers: { origin: server } },
      ]),
    ),
  },
  test: { environment: "node", include: ["test/**/*.test.{ts,tsx}"], globals: false },
});
