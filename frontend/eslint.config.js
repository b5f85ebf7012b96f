import js from "@eslint/js";
import hooks from "eslint-plugin-react-hooks";
import { defineConfig, globalIgnores } from "eslint/config";
import typescript from "typescript-eslint";

// Ways for a text to become markup or a script: the page has none of them, and its policy refuses them.
const NO_MARKUP = "A text never becomes markup: see src/markdown/render.tsx.";
const banned = ["innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML", "srcdoc", "srcDoc"];

export default defineConfig([
  globalIgnores(["node_modules"]),
  js.configs.recommended,
  typescript.configs.recommended,
  {
    files: ["src/**/*.{ts,tsx}"],
    plugins: { "react-hooks": hooks },
    rules: {
      "react-hooks/rules-of-hooks": "error",
      "react-hooks/exhaustive-deps": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-syntax": [
        "error",
        ...banned.map((name) => ({ selector: `:matches(Identifier, JSXIdentifier)[name='${name}']`, message: NO_MARKUP })),
      ],
    },
  },
  {
    // The client is for any page: it knows no framework and nothing of this one.
    files: ["src/client/**"],
    rules: { "no-restricted-imports": ["error", { patterns: ["react*", "../*"] }] },
  },
  {
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", { varsIgnorePattern: "^_", argsIgnorePattern: "^_" }],
      "@typescript-eslint/no-unused-expressions": ["error", { allowShortCircuit: true, allowTernary: true }],
    },
  },
  { files: ["scripts/**"], languageOptions: { globals: { console: "readonly", process: "readonly" } } },
]);
