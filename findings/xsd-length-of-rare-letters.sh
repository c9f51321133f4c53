#!/usr/bin/env bash
# Needs: Python 3, a JDK, Maven.
#
# Guess: `maxLength` of an XML schema counts characters, so every validator agrees on a name of 70 letters.
# Seen:  libxml2 (lxml 6.1.3) and xmlschema 4.3.2 count code points and accept 70 letters of which one lies above U+FFFF, a Chinese surname.
#        Xerces-J 2.12.2, and so every JVM that validates with it or with the copy in its JDK, counts UTF-16 units, finds 71 and refuses.
#        Both are right by some reading: the recommendation says characters, Java's String says units.
# Why it matters: a creditor institution writes fullName (at most 70) and remittanceInformation (at most 140) under the official schema, and what reads
#        them around the pagoPA node is mostly Java. An answer that libxml2 calls valid makes the notice impossible to pay there.
# Ours:  lengths towards the node are counted in UTF-16 units (`services/domain/src/text.rs`).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"

python3 -m venv venv >/dev/null
venv/bin/pip --quiet --disable-pip-version-check install lxml==6.1.3 xmlschema==4.3.2
mvn --quiet --batch-mode dependency:copy -Dartifact=xerces:xercesImpl:2.12.2 -DoutputDirectory=. >/dev/null

cat > name.xsd <<'X'
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="fullName">
    <xs:simpleType><xs:restriction base="xs:string"><xs:maxLength value="70"/></xs:restriction></xs:simpleType>
  </xs:element>
</xs:schema>
X
cat > judge.py <<'X'
from lxml import etree
import xmlschema
for label, name in (("70 letters", "x" * 70), ("69 letters and U+20BB7", "x" * 69 + "\U00020BB7"), ("71 letters", "x" * 71)):
    document = "<fullName>%s</fullName>" % name
    file = label.replace(" ", "_") + ".xml"
    open(file, "w", encoding="utf-8").write(document)
    print("lxml", label, etree.XMLSchema(etree.parse("name.xsd")).validate(etree.parse(file)), sep=": ")
    print("xmlschema", label, xmlschema.XMLSchema("name.xsd").is_valid(document), sep=": ")
X
cat > Judge.java <<'X'
import java.io.File;
import javax.xml.transform.stream.StreamSource;
import javax.xml.validation.SchemaFactory;
import org.xml.sax.SAXException;

class Judge {
    public static void main(String[] labels) throws Exception {
        String[] factories = {"org.apache.xerces.jaxp.validation.XMLSchemaFactory"};
        for (String factory : factories) {
            var schema = SchemaFactory.newInstance("http://www.w3.org/2001/XMLSchema", factory, null).newSchema(new File("name.xsd"));
            for (String label : labels) {
                String verdict = "True";
                try {
                    schema.newValidator().validate(new StreamSource(new File(label.replace(" ", "_") + ".xml")));
                } catch (SAXException refused) {
                    verdict = "False, " + refused.getMessage().replaceAll("^(cvc-[A-Za-z]+-valid).*length = '([0-9]+)'.*$", "$1 counts $2");
                }
                System.out.println("xerces: " + label + ": " + verdict);
            }
        }
    }
}
X
venv/bin/python judge.py > seen
java -cp xercesImpl-2.12.2.jar Judge.java "70 letters" "69 letters and U+20BB7" "71 letters" >> seen

cat > expected <<'X'
lxml: 70 letters: True
xmlschema: 70 letters: True
lxml: 69 letters and U+20BB7: True
xmlschema: 69 letters and U+20BB7: True
lxml: 71 letters: False
xmlschema: 71 letters: False
xerces: 70 letters: True
xerces: 69 letters and U+20BB7: False, cvc-maxLength-valid counts 71
xerces: 71 letters: False, cvc-maxLength-valid counts 71
X
cat seen
diff expected seen && echo "as it was seen"
