// STAND-IN for https://challenges.cloudflare.com/turnstile/v0/api.js: a box to tick in place of the challenge.
// The functions and the options are those that Cloudflare documents, as far as the example uses them.
(() => {
  const ASKING = "I am a person";
  const widgets = new Map();
  const solve = async (widget) => {
    const { sitekey, action = "", callback } = widget.options;
    const body = new URLSearchParams({ sitekey, action, hostname: location.hostname });
    const { token } = await (await fetch("{{solve}}", { method: "POST", body })).json();
    widget.token = token;
    widget.label.textContent = "Success!";
    callback?.(token);
  };
  window.turnstile = {
    render(container, options) {
      const place = typeof container === "string" ? document.querySelector(container) : container;
      const id = `stand-in-${widgets.size + 1}`;
      const box = Object.assign(document.createElement("input"), { type: "checkbox", id });
      const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: ASKING });
      const widget = { options, box, label, token: undefined };
      box.addEventListener("change", () => box.checked && solve(widget));
      place.append(box, label);
      widgets.set(id, widget);
      return id;
    },
    reset(id) {
      const widget = widgets.get(id);
      widget.token = undefined;
      widget.box.checked = false;
      widget.label.textContent = ASKING;
    },
    remove(id) {
      const widget = widgets.get(id);
      widget.box.remove();
      widget.label.remove();
      widgets.delete(id);
    },
    getResponse: (id) => widgets.get(id)?.token,
  };
})();
