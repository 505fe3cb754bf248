// With the routes of applications where the page may see them without a token; else what every service has.
const whole = "openapi.json?applications=true";

function start(url) {
  SwaggerUIBundle({
    url,
    dom_id: "#ui",
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
}

fetch(whole).then((answer) => start(answer.ok ? whole : "openapi.json")).catch(() => start("openapi.json"));
