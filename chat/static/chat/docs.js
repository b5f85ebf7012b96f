// The page's only script of our own: no inline script is allowed there.
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: document.querySelector("#docs").dataset.schema,
    dom_id: "#docs",
    deepLinking: true,
    validatorUrl: null, // it would be another host's
    presets: [SwaggerUIBundle.presets.apis],
  });
});
